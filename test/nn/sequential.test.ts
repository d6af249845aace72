import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GELU, LogSoftmax, ReLU, Tanh } from '../../src/nn/activations.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Flatten, Identity, Sequential } from '../../src/nn/sequential.ts'
import { backward } from '../../src/tensor/backward.ts'
import { sum } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

test('a sequence names and prints its layers as PyTorch', () => {
  const model = new Sequential(
    new Flatten(),
    new Linear(6, 4),
    new ReLU(),
    new Sequential(new GELU(), new Tanh()),
    new LogSoftmax(1),
  )
  assert.deepEqual(
    [...model.namedModules()].map(([path]) => path),
    ['', '0', '1', '2', '3', '3.0', '3.1', '4'],
  )
  assert.deepEqual(
    [...model.namedParameters()].map(([path]) => path),
    ['1.weight', '1.bias'],
  )
  assert.equal(
    String(model),
    `Sequential(
  (0): Flatten(start_dim=1, end_dim=-1)
  (1): Linear(in_features=6, out_features=4, bias=True)
  (2): ReLU()
  (3): Sequential(
    (0): GELU(approximate='none')
    (1): Tanh()
  )
  (4): LogSoftmax(dim=1)
)`,
  )
  model.setModule('3.1', new Identity())
  assert.equal(model.getModule('3.1').typeName, 'Identity')
  assert.equal(String(model.clone()), String(model))
})

testOnDevices('layers run in order, and a gradient passes back through them', async (device) => {
  const model = new Sequential(new Identity(), new ReLU(), new Flatten())
  const x = Tensor.fromNumbers(device, [-1, 2, 3, -4], [2, 2, 1])
  x.requiresGrad = true
  const { y, loss } = backward(() => {
    const y = model.forward(x)
    return { y, loss: sum(y) }
  })
  assert.deepEqual(y.shape, [2, 2])
  assert.deepEqual([...(await y.toNumbers())], [0, 2, 3, 0])
  assert.deepEqual([...((await x.grad?.toNumbers()) ?? [])], [0, 1, 1, 0])
  for (const tensor of [x, y, loss]) tensor.dispose()
  assert.equal(device.allocatedBytes, 0)
})
