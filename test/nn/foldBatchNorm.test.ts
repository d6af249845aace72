import assert from 'node:assert/strict'
import type { Device } from '../../src/devices/device.ts'
import { epsilon } from '../../src/kernels/inputs.ts'
import { ReLU } from '../../src/nn/activations.ts'
import { BatchNorm1d, BatchNorm2d } from '../../src/nn/batchNorm.ts'
import { Conv2d } from '../../src/nn/conv2d.ts'
import { foldBatchNorm } from '../../src/nn/foldBatchNorm.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Flatten, Sequential } from '../../src/nn/sequential.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'
import { compareValues } from '../tensor/goldenGradients.ts'

testOnDevices('folded by hand', async (device) => {
  const model = new Sequential(new Linear(2, 2), new BatchNorm1d(2, { eps: 0 })).eval()
  const [linear, norm] = [model.getModule('0') as Linear, model.getModule('1') as BatchNorm1d]
  const set = (values: number[], shape = [values.length]) => Tensor.fromNumbers(device, values, shape)
  Object.assign(linear, { weight: set([1, 2, 3, 4], [2, 2]), bias: set([10, 20]) })
  Object.assign(norm, {
    weight: set([2, 3]),
    bias: set([1, -1]),
    running_mean: set([4, 8]),
    running_var: set([4, 9]),
  })
  norm.num_batches_tracked = Tensor.fromNumbers(device, [1], [], 'int64')
  assert.throws(
    () => foldBatchNorm(model, [['1', '0']]),
    /foldBatchNorm: 1 must be a convolution or Linear, 0 a BatchNorm; received BatchNorm1d and Linear/,
  )
  // Both scales are 1: 2/√4 and 3/√9; shifts 1 − 4 and −1 − 8.
  assert.deepEqual(foldBatchNorm(model), ['1'])
  assert.deepEqual([...(await linear.weight.toNumbers())], [1, 2, 3, 4])
  assert.deepEqual([...((await linear.bias?.toNumbers()) ?? [])], [7, 11])
  assert.equal(model.getModule('1').typeName, 'Identity')
  model.dispose()
  assert.equal(device.allocatedBytes, 0)
})

testOnDevices('a folded network computes what it did', async (device) => {
  const block = new Sequential(
    new Conv2d(3, 6, 3, { padding: 1, bias: false }),
    new BatchNorm2d(6),
    new ReLU(),
    new Conv2d(6, 4, 3),
    new BatchNorm2d(4),
  )
  const model = initialize(new Sequential(block, new Flatten()), device, { seed: 1 })
  const x = Tensor.fromNumbers(
    device,
    Float32Array.from({ length: 2 * 3 * 36 }, (_, i) => Math.sin(i)),
    [2, 3, 6, 6],
  )
  assert.throws(
    () => foldBatchNorm(model.train()),
    /the model must not train, call eval\(\) first; received 0.1 in training/,
  )
  // Statistics of two batches, far enough from 0 and 1 to matter.
  for (let i = 0; i < 2; i++) model.forward(x).dispose()
  const before = model.eval().forward(x)
  assert.deepEqual(foldBatchNorm(model), ['0.1', '0.4'])
  const after = model.forward(x)
  const values = Float64Array.from(await before.toNumbers())
  const largest = values.reduce((size, value) => Math.max(size, Math.abs(value)), 0)
  // Two products of 27 and 54 terms each, whose factors were rounded once more.
  compareValues('after', await after.toNumbers(), values, 20 * epsilon * 2 * largest)
  for (const tensor of [x, before, after, model]) tensor.dispose()
  assert.equal(device.allocatedBytes, 0)
})

/** 1 → 1 with weight w, and a normalization that doubles. */
const unit = (device: Device) => {
  const set = (value: number) => Tensor.fromNumbers(device, [value])
  const linear = Object.assign(new Linear(1, 1), {
    weight: Tensor.fromNumbers(device, [3], [1, 1]),
    bias: set(1),
  })
  const norm = Object.assign(new BatchNorm1d(1, { eps: 0 }), {
    weight: set(2),
    bias: set(0),
    running_mean: set(0),
    running_var: set(1),
  })
  norm.num_batches_tracked = Tensor.fromNumbers(device, [1], [], 'int64')
  return { linear, norm }
}

testOnDevices(
  'a block at two places is folded once; a layer that another normalization follows elsewhere is not',
  async (device) => {
    const { linear, norm } = unit(device)
    const block = new Sequential(linear, norm).eval()
    const model = new Sequential(block, block)
    assert.deepEqual(foldBatchNorm(model), ['0.1'])
    assert.ok(model.getModule('0') === model.getModule('1') && model.getModule('1.1').typeName === 'Identity')
    // 2 · (3x + 1), twice.
    assert.deepEqual(
      [...(await model.forward(Tensor.fromNumbers(device, [1], [1, 1])).toNumbers())],
      [2 * (3 * 8 + 1)],
    )
    const [first, second] = [unit(device), unit(device)]
    const apart = new Sequential(
      new Sequential(first.linear, first.norm),
      new Sequential(first.linear, second.norm),
    ).eval()
    assert.deepEqual(foldBatchNorm(apart), [])
  },
)

testOnDevices('a weight that another layer shares is left to it', async (device) => {
  const { linear, norm } = unit(device)
  const other = Object.assign(new Linear(1, 1, { bias: false }), { weight: linear.weight })
  const model = new Sequential(other, linear, norm).eval()
  assert.deepEqual(foldBatchNorm(model), ['2'])
  assert.deepEqual([...(await other.weight.toNumbers())], [3])
  assert.deepEqual([...(await linear.weight.toNumbers())], [6])
})
