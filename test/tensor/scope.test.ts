import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { add, mul } from '../../src/tensor/ops/index.ts'
import { keep, scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())
const numbers = (...values: number[]) => Tensor.fromNumbers(device, values)

test('a scope gives back everything but its result', async () => {
  const [x, y] = [numbers(1, 2, 3), numbers(10, 20, 30)]
  const before = device.allocatedBytes
  const z = scope(() => add(mul(x, y), y))
  assert.equal(device.allocatedBytes, before + 64, 'one block of the smallest size')
  assert.deepEqual([...(await z.toNumbers())], [20, 60, 120])
  z.dispose()
  z.dispose()
  assert.equal(device.allocatedBytes, before)
  for (const tensor of [x, y]) tensor.dispose()
  assert.equal(device.allocatedBytes, 0)
})

test('results of an inner scope belong to the outer one; kept tensors to nobody; views share memory', async () => {
  let kept: Tensor | undefined
  const view = scope(() => {
    const inner = scope(() => ({ a: numbers(1, 2, 3, 4), b: [numbers(5)] }))
    kept = keep(numbers(7))
    assert.equal(device.allocatedBytes, 3 * 64)
    return inner.a.view([2, 2]).rows(1, 2)
  })
  assert.deepEqual([...(await view.toNumbers())], [3, 4])
  assert.deepEqual([...((await kept?.toNumbers()) ?? [])], [7])
  view.dispose()
  kept?.dispose()
  assert.equal(device.allocatedBytes, 0)
})

test('a scope that throws leaves nothing', () => {
  const fail = () => {
    numbers(1, 2)
    throw new Error('on purpose')
  }
  assert.throws(() => scope(() => scope(fail)), /on purpose/)
  assert.equal(device.allocatedBytes, 0)
})

test('what was disposed, or has no memory, is refused in one sentence', () => {
  const x = numbers(1)
  x.dispose()
  assert.throws(() => add(x, x), { name: 'DeviceError', message: 'tensor: [1] float32 was disposed' })
  const meta = Tensor.meta([2, 3], 'bfloat16')
  assert.throws(() => meta.storage, {
    name: 'DeviceError',
    message: 'tensor: [2,3] bfloat16 has no memory yet (load its values first)',
  })
})

test('shapes and dtypes are checked where an operation is called', () => {
  scope(() => {
    assert.throws(() => add(numbers(1, 2), numbers(1, 2, 3)), {
      name: 'ShapeError',
      message: 'add: sizes must be equal or 1 along every axis; received [2] and [3]',
    })
    assert.throws(() => add(Tensor.fromNumbers(device, [1], [1], 'int32'), numbers(1)), {
      name: 'DTypeError',
      message: 'add: a must be float32; received int32',
    })
    assert.throws(() => numbers(1, 2, 3).view([2, 2]), {
      name: 'ShapeError',
      message: 'view: [2,2] must hold 3 values; received 4 for [3]',
    })
    assert.throws(() => numbers(1, 2, 3).rows(2, 4), {
      name: 'ShapeError',
      message: 'rows: must lie in 0..3; received 2..4 of [3]',
    })
    assert.throws(() => Tensor.fromArray(device, new Uint16Array(2)), { name: 'DTypeError' })
  })
})
