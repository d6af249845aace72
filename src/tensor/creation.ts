import { asDType, type DType, dtypes } from '../core/dtype.ts'
import { DTypeError, ShapeError } from '../core/errors.ts'
import { check, instanceOf, type Kind, show } from '../core/kinds.ts'
import { type Shape, showShape } from '../core/shape.ts'
import { aDevice, Device } from '../devices/device.ts'

/** @throws DeviceError, ShapeError or DTypeError unless a tensor can be made of these */
export function checkPlace(operation: string, device: Device, shape: Shape, dtype: DType): void {
  if (!(device instanceof Device)) check(operation, 'device', device, aDevice)
  checkSizes(operation, shape)
  checkKnown(operation, dtype)
}

/** @throws DTypeError unless there is such a dtype */
export function checkKnown(operation: string, dtype: DType): void {
  if (dtypes[dtype] === undefined) asDType(dtype, `${operation}: dtype`)
}

/** @throws ShapeError unless `shape` is a list of whole numbers, 0 or more */
export function checkSizes(operation: string, shape: Shape): void {
  if (!Array.isArray(shape))
    throw new ShapeError(`${operation}: shape must be a list of sizes; received ${show(shape)}`)
  for (const size of shape) {
    if (!(Number.isInteger(size) && size >= 0))
      throw new ShapeError(
        `${operation}: sizes must be whole numbers, 0 or more; received ${showShape(shape)}`,
      )
  }
}

/** For whoever calls the constructor as PyTorch's. */
export function notMade(received: unknown): ShapeError {
  return new ShapeError(
    `Tensor: tensors are made by Tensor.fromNumbers(device, numbers, shape) and its like; received ${show(received)}`,
  )
}

/** The shape of a list. */
export function lengthOf(list: ArrayLike<unknown>): Shape {
  return [list?.length ?? 0]
}

/** Raw bits of values. */
export const aTypedArray: Kind = {
  must: 'be a typed array',
  holds: (value) => ArrayBuffer.isView(value) && 'length' in value,
  error: DTypeError,
}
/** Bytes. */
export const someBytes: Kind = instanceOf(Uint8Array, 'be a Uint8Array', DTypeError)
