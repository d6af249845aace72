import assert from 'node:assert/strict'
import { test } from 'node:test'
import { epsilon } from '../../src/kernels/inputs.ts'
import { BatchNorm1d, BatchNorm2d } from '../../src/nn/batchNorm.ts'
import { Dropout } from '../../src/nn/dropout.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { klDivLoss } from '../../src/nn/losses.ts'
import { GroupNorm, LayerNorm } from '../../src/nn/normalization.ts'
import { AdaptiveAvgPool2d, AvgPool2d, MaxPool2d } from '../../src/nn/pooling.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { backward } from '../../src/tensor/backward.ts'
import { adaptiveAvgPool2d, maxPool2d, sum } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'
import { compareValues } from '../tensor/goldenGradients.ts'

test('layers print and name their tensors as PyTorch', () => {
  const model = new Sequential(
    new BatchNorm2d(5),
    new MaxPool2d(3, { stride: 2, padding: 1 }),
    new AvgPool2d([2, 3]),
    new AdaptiveAvgPool2d(1),
    new Dropout(0.1),
    new LayerNorm(12),
    new GroupNorm(2, 4),
    new BatchNorm1d(3, { affine: false }),
  )
  assert.equal(
    String(model),
    `Sequential(
  (0): BatchNorm2d(5, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
  (1): MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=False)
  (2): AvgPool2d(kernel_size=(2, 3), stride=(2, 3), padding=0)
  (3): AdaptiveAvgPool2d(output_size=1)
  (4): Dropout(p=0.1, inplace=False)
  (5): LayerNorm((12,), eps=1e-05, elementwise_affine=True)
  (6): GroupNorm(2, 4, eps=1e-05, affine=True)
  (7): BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=False, track_running_stats=True)
)`,
  )
  const names = (kind: 'namedTensors' | 'namedParameters') =>
    [...model[kind]()].map(([path]) => path).filter((path) => path.startsWith('0.'))
  assert.deepEqual(names('namedTensors'), [
    '0.weight',
    '0.bias',
    '0.running_mean',
    '0.running_var',
    '0.num_batches_tracked',
  ])
  assert.deepEqual(names('namedParameters'), ['0.weight', '0.bias'])
})

testOnDevices(
  'batch normalization learns its statistics in training and uses them afterwards',
  async (device) => {
    const norm = initialize(new BatchNorm1d(2, { momentum: 0.5, eps: 0 }), device)
    // Channel 0: 1 and 3, mean 2, variance 1 (2 without bias); channel 1: 0 and 8, mean 4, variance 16 (32).
    const x = Tensor.fromNumbers(device, [1, 0, 3, 8], [2, 2])
    const trained = norm.train().forward(x)
    assert.deepEqual([...(await trained.toNumbers())], [-1, -1, 1, 1])
    assert.deepEqual([...((await norm.running_mean?.toNumbers()) ?? [])], [1, 2])
    assert.deepEqual([...((await norm.running_var?.toNumbers()) ?? [])], [1.5, 16.5])
    assert.deepEqual([...((await norm.num_batches_tracked?.toNumbers()) ?? [])], [1])
    const evaluated = norm.eval().forward(x)
    const expected = [0, -2 / Math.sqrt(16.5), 2 / Math.sqrt(1.5), 6 / Math.sqrt(16.5)]
    // x·scale + shift: a few roundings of values up to 8 / √16.5.
    compareValues('evaluated', await evaluated.toNumbers(), expected, 4 * epsilon * 2)
    assert.throws(
      () => norm.train().forward(Tensor.meta([1, 2])),
      /batchNorm: needs more than one value per channel to train; received \[1,2\]/,
    )
    for (const tensor of [x, trained, evaluated, norm]) tensor.dispose()
    assert.equal(device.allocatedBytes, 0)
  },
)

testOnDevices('a group normalized by hand', async (device) => {
  const norm = initialize(new GroupNorm(2, 4, { eps: 0 }), device)
  // Groups of two channels with one value each: ±1, whatever they are.
  const x = Tensor.fromNumbers(device, [1, 3, 10, 4], [1, 4, 1])
  const y = norm.forward(x)
  compareValues('y', await y.toNumbers(), [-1, 1, 1, -1], 2 * epsilon)
  for (const tensor of [x, y, norm]) tensor.dispose()
})

testOnDevices(
  'dropout keeps the mean, drops alike on the way back, and does nothing when it does not train',
  async (device) => {
    const layer = initialize(new Dropout(0.25), device, { seed: 3 })
    const count = 100_000
    const x = Tensor.fromNumbers(device, new Float32Array(count).fill(3))
    x.requiresGrad = true
    const { y, loss } = backward(() => {
      const y = layer.train().forward(x)
      return { y, loss: sum(y) }
    })
    const values = await y.toNumbers()
    const kept = values.filter((value) => value !== 0)
    assert.ok(kept.every((value) => value === 4))
    // Five standard deviations of a binomial distribution.
    assert.ok(
      Math.abs(kept.length - 0.75 * count) < 5 * Math.sqrt(count * 0.75 * 0.25),
      `${kept.length} kept`,
    )
    const gradient = (await x.grad?.toNumbers()) ?? []
    assert.ok(gradient.every((value, i) => value === (values[i] === 0 ? 0 : Math.fround(1 / 0.75))))
    const again = layer.forward(x)
    assert.notDeepEqual(await again.toNumbers(), values)
    const same = layer.eval().forward(x)
    assert.deepEqual(await same.toNumbers(), await x.toNumbers())
    for (const tensor of [x, y, loss, again, same]) tensor.dispose()
    assert.equal(device.allocatedBytes, 0)
  },
)

testOnDevices(
  'pools: adaptive windows overlap where sizes do not divide; ceil mode; sizes that cannot be',
  async (device) => {
    const x = Tensor.fromNumbers(device, [1, 2, 3, 4, 5], [1, 1, 5])
    // ⌊i·5/2⌋ … ⌈(i+1)·5/2⌉: 1 2 3 and 3 4 5.
    const mean = adaptiveAvgPool2d(x, [1, 2])
    assert.deepEqual([...(await mean.toNumbers())], [2, 4])
    const floor = maxPool2d(x, [1, 2])
    assert.deepEqual([...(await floor.toNumbers())], [2, 4])
    const ceil = maxPool2d(x, [1, 2], { ceilMode: true })
    assert.deepEqual([...(await ceil.toNumbers())], [2, 4, 5])
    assert.throws(
      () => maxPool2d(x, 3),
      /maxPool2d: the kernel \[3,3\] must fit into \[1,1,5\] with padding \[0,0\]/,
    )
    assert.throws(
      () => maxPool2d(x, 1, { padding: 1 }),
      /padding must be at most half the kernel \[1,1\]; received \[1,1\]/,
    )
    for (const tensor of [x, mean, floor, ceil]) tensor.dispose()
  },
)

testOnDevices('Kullback-Leibler divergence by hand, a probability of 0 included', async (device) => {
  const q = Tensor.fromNumbers(device, [0.5, 0.5, 0.25, 0.75].map(Math.log), [2, 2])
  const p = Tensor.fromNumbers(device, [1, 0, 0.5, 0.5], [2, 2])
  const expected = Math.log(2) + 0.5 * Math.log(2) + 0.5 * Math.log(0.5 / 0.75)
  const loss = klDivLoss(q, p, { reduction: 'batchmean' })
  compareValues('batchmean', await loss.toNumbers(), [expected / 2], 4 * epsilon)
  const mean = klDivLoss(q, p)
  compareValues('mean', await mean.toNumbers(), [expected / 4], 4 * epsilon)
  for (const tensor of [q, p, loss, mean]) tensor.dispose()
})

testOnDevices('parameters start as in PyTorch', async (device) => {
  const norm = new LayerNorm(3)
  norm.resetParameters(device)
  assert.deepEqual([...((await norm.weight?.toNumbers()) ?? [])], [1, 1, 1])
  assert.deepEqual([...((await norm.bias?.toNumbers()) ?? [])], [0, 0, 0])
  norm.dispose()
})

testOnDevices('what was tied stays tied when a model is initialized', (device) => {
  const model = new Sequential(new LayerNorm(3), new LayerNorm(3))
  const [first, second] = [model.getModule('0') as LayerNorm, model.getModule('1') as LayerNorm]
  second.weight = first.weight
  initialize(model, device)
  assert.equal(second.weight, first.weight)
  assert.notEqual(second.bias, first.bias)
  assert.equal(device.allocatedBytes, 3 * 64, 'one weight and two biases')
  model.dispose()
  assert.equal(device.allocatedBytes, 0)
})
