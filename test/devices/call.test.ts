import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Scalar } from '../../src/devices/commandList.ts'
import { openDevice } from '../../src/devices/open.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'

for (const name of deviceNames) {
  test(`arguments of a call go by their names on ${name}`, async () => {
    const device = openDevice(name, { threads: 1 })
    const x = Tensor.fromNumbers(device, [1, 2, 3])
    const y = Tensor.empty(device, [3])
    // y = x · scale + offset, in another order than the kernel's.
    device.call('affine', { count: 3, offset: 0.5, y, scale: 2, x })
    assert.deepEqual([...(await y.toNumbers())], [2.5, 4.5, 6.5])
    device.call('affine', { count: new Scalar(2), offset: new Scalar(0), y, scale: -1, x })
    assert.deepEqual([...(await y.toNumbers())], [-1, -2, 6.5])
    // Optional arrays may be absent or null: values of `where` are then the numbers beside them.
    const mask = Tensor.fromArray(device, Uint8Array.of(1, 0, 1))
    device.call('where', { mask, aValue: 7, b: x, bValue: 0, y, count: 3 })
    assert.deepEqual([...(await y.toNumbers())], [7, 2, 7])
    device.call('where', { mask, a: x, aValue: 0, b: null, bValue: 9, y, count: 3 })
    assert.deepEqual([...(await y.toNumbers())], [1, 9, 3])
    await device.close()
  })

  test(`a missing, unknown or wrong argument is refused on ${name}`, async () => {
    const device = openDevice(name, { threads: 1 })
    const [x, y] = [Tensor.fromNumbers(device, [1]), Tensor.empty(device, [1])]
    assert.throws(
      // @ts-expect-error: y is missing
      () => device.call('affine', { x, scale: 1, offset: 0, count: 1 }),
      { name: 'DTypeError', message: 'affine: y must be a tensor; received nothing' },
    )
    assert.throws(
      // @ts-expect-error: offset is missing
      () => device.call('affine', { x, scale: 1, y, count: 1 }),
      { name: 'ShapeError', message: 'affine: offset must be a number; received nothing' },
    )
    // @ts-expect-error: affine has no shift
    device.call('affine', { x, scale: 1, offset: 0, shift: 0, y, count: 1 })
    // @ts-expect-error: x is no number
    assert.throws(() => device.call('affine', { x: 5, scale: 1, offset: 0, y, count: 1 }), {
      message: 'affine: x must be a tensor; received 5',
    })
    // @ts-expect-error: a tensor that must be there is not null
    assert.throws(() => device.call('affine', { x: null, scale: 1, offset: 0, y, count: 1 }), {
      message: 'affine: x must be a tensor; received null',
    })
    assert.throws(() => device.call('affine', { x, scale: 1, offset: 0, y, count: 2 ** 31 }), {
      message: 'affine: count must be a number, at most 2147483647; received 2147483648',
    })
    await device.close()
  })
}
