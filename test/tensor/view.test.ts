import assert from 'node:assert/strict'
import type { Shape } from '../../src/core/shape.ts'
import { backward } from '../../src/tensor/backward.ts'
import { mul, sum } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from './devices.ts'

testOnDevices('one size of view and reshape may be -1', async (device) => {
  const x = Tensor.fromNumbers(
    device,
    Array.from({ length: 24 }, (_, i) => i),
    [2, 3, 4],
  )
  const shapes: [Shape, Shape][] = [
    [[-1], [24]],
    [
      [2, -1],
      [2, 12],
    ],
    [
      [-1, 4, 1],
      [6, 4, 1],
    ],
    [
      [3, 8, -1],
      [3, 8, 1],
    ],
  ]
  for (const [asked, expected] of shapes) {
    for (const y of [x.view(asked), x.reshape(asked)]) {
      assert.deepEqual(y.shape, expected)
      assert.equal(y.storage, x.storage)
      assert.deepEqual(await y.toNumbers(), await x.toNumbers())
    }
  }
  assert.deepEqual(Tensor.meta([6]).view([-1, 2]).shape, [3, 2])
  assert.deepEqual(Tensor.empty(device, [0, 5]).view([-1, 5]).shape, [0, 5])
})

testOnDevices('what -1 cannot stand for is refused', (device) => {
  const x = Tensor.empty(device, [2, 3])
  const refused = (shape: Shape, message: string) =>
    assert.throws(() => x.reshape(shape), { name: 'ShapeError', message })
  refused([4, -1], 'view: the sizes beside -1 must divide 6 values; received [4,-1] for [2,3]')
  refused(
    [-1, -1],
    'view: sizes must be whole numbers, 0 or more, but one, which may be -1; received [-1,-1]',
  )
  refused([-2, 3], 'view: sizes must be whole numbers, 0 or more, but one, which may be -1; received [-2,3]')
  refused([2, 2], 'view: [2,2] must hold 6 values; received 4 for [2,3]')
  assert.throws(() => Tensor.empty(device, [0]).view([0, -1]), /the sizes beside -1 must divide 0 values/)
})

testOnDevices('the gradient goes back to the shape it came from', async (device) => {
  const x = Tensor.fromNumbers(device, [1, 2, 3, 4, 5, 6], [2, 3])
  x.requiresGrad = true
  backward(() => {
    const y = x.reshape([-1, 2])
    return sum(mul(y, y))
  })
  assert.deepEqual(x.grad?.shape, [2, 3])
  assert.deepEqual([...((await x.grad?.toNumbers()) ?? [])], [2, 4, 6, 8, 10, 12])
})

testOnDevices('item resolves to the one value of a tensor', async (device) => {
  assert.equal(await Tensor.fromNumbers(device, [2.5], []).item(), 2.5)
  assert.equal(await Tensor.fromNumbers(device, [0.1], [1, 1], 'bfloat16').item(), 0.10009765625)
  assert.equal(await Tensor.fromArray(device, BigInt64Array.of(-7n)).item(), -7)
  for (const shape of [[2], [0], [1, 3]]) {
    const message = `item: the tensor must hold one value; received [${shape}]`
    await assert.rejects(Tensor.empty(device, shape).item(), { name: 'ShapeError', message })
  }
})
