import { type Bytes, type DType, dtypes, type HostArray, viewAs } from '../core/dtype.ts'
import { DeviceError, DTypeError, ShapeError } from '../core/errors.ts'
import { toNumbers } from '../core/halves.ts'
import { inspect } from '../core/inspect.ts'
import { check, instanceOf, type Kind } from '../core/kinds.ts'
import { inferShape, numel, type Shape, sameShape, showShape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import type { Region, Storage } from '../devices/storage.ts'
import { aTypedArray, checkKnown, checkPlace, checkSizes, lengthOf, notMade, someBytes } from './creation.ts'
import { dtypeOfArray, encodeNumbers } from './encode.ts'
import { type Handlers, op } from './op.ts'
import { keep, track } from './scope.ts'
import { backwardFrom, noteChange } from './tape.ts'

/**
 * Values with a shape, contiguous and row-major, in a device's memory. Views share the memory.
 * A tensor lives until it is disposed: at the end of the `scope` that it was made in, by `dispose()`, or by
 * `using`. A tensor without memory (`Tensor.meta`) has a shape and a dtype only: the place of a parameter
 * still to be loaded.
 */
export class Tensor implements Region {
  readonly shape: Shape
  readonly dtype: DType
  readonly byteOffset: number
  private readonly memory: Storage | null
  private disposed = false
  /** What was computed from this tensor to be used again, by purpose. */
  private derived: Map<string, Tensor[]> | undefined
  /** Whether `backward` computes the gradient of the loss by this tensor; float32 only. */
  requiresGrad = false
  /** That gradient, of the same shape; null until there is one. `backward` adds to it. */
  grad: Tensor | null = null
  /** What a kind of tensor that stores its values otherwise computes itself, operation by operation. */
  readonly handlers: Handlers | null = null

  constructor(memory: Storage | null, shape: Shape, dtype: DType, byteOffset = 0) {
    if (!Array.isArray(shape)) throw notMade(memory)
    this.memory = memory
    this.shape = shape
    this.dtype = dtype
    this.byteOffset = byteOffset
    track(this)
  }

  /**
   * A tensor with undefined content. @throws ShapeError if a size is no whole number, DTypeError or
   * DeviceError if there is no such
   */
  static empty(device: Device, shape: Shape, dtype: DType = 'float32'): Tensor {
    checkPlace('empty', device, shape, dtype)
    return new Tensor(device.allocate(numel(shape) * dtypes[dtype].bytes), shape, dtype)
  }

  /** A float32 tensor of one value. */
  static full(device: Device, shape: Shape, value: number): Tensor {
    checkPlace('full', device, shape, 'float32')
    const tensor = Tensor.empty(device, shape)
    if (tensor.numel > 0) device.call('fill', { y: tensor, value, count: tensor.numel })
    return tensor
  }

  /** A shape without memory. @throws ShapeError if a size is no whole number */
  static meta(shape: Shape, dtype: DType = 'float32'): Tensor {
    checkSizes('meta', shape)
    checkKnown('meta', dtype)
    return new Tensor(null, shape, dtype)
  }

  /**
   * A tensor with these raw bits (for float16, bfloat16 and float8: bit patterns).
   * @throws ShapeError if their number is not the shape's.
   */
  static fromArray(
    device: Device,
    array: HostArray,
    shape: Shape = lengthOf(array),
    dtype: DType = dtypeOfArray(array),
  ): Tensor {
    checkPlace('fromArray', device, shape, dtype)
    check('fromArray', 'array', array, aTypedArray)
    if (array.length !== numel(shape)) {
      throw new ShapeError(
        `fromArray: shape ${showShape(shape)} holds ${numel(shape)} values; received ${array.length}`,
      )
    }
    if (array.BYTES_PER_ELEMENT !== dtypes[dtype].bytes) {
      throw new DTypeError(
        `fromArray: ${dtype} has ${dtypes[dtype].bytes} bytes per value; received an array of ${array.BYTES_PER_ELEMENT}`,
      )
    }
    return Tensor.fromBytes(
      device,
      new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
      shape,
      dtype,
    )
  }

  /** A tensor with these bytes, little-endian. */
  static fromBytes(device: Device, bytes: Uint8Array, shape: Shape, dtype: DType): Tensor {
    checkPlace('fromBytes', device, shape, dtype)
    check('fromBytes', 'bytes', bytes, someBytes)
    const tensor = Tensor.empty(device, shape, dtype)
    if (bytes.byteLength !== tensor.byteLength) {
      throw new ShapeError(
        `fromBytes: ${dtype} ${showShape(shape)} takes ${tensor.byteLength} bytes; received ${bytes.byteLength}`,
      )
    }
    if (bytes.byteLength > 0) device.write(tensor, bytes)
    return tensor
  }

  /**
   * A tensor of these numbers, rounded to `dtype` where it is a float.
   * @throws ShapeError if their number is not the shape's, DTypeError if one is none or not a value of an
   * integer dtype
   */
  static fromNumbers(
    device: Device,
    numbers: ArrayLike<number>,
    shape: Shape = lengthOf(numbers),
    dtype: DType = 'float32',
  ): Tensor {
    checkPlace('fromNumbers', device, shape, dtype)
    return Tensor.fromArray(device, encodeNumbers(numbers, dtype), shape, dtype)
  }

  /** @throws DeviceError if the tensor was disposed or has no memory. */
  get storage(): Storage {
    if (this.disposed) throw new DeviceError(`tensor: ${showShape(this.shape)} ${this.dtype} was disposed`)
    if (!this.memory)
      throw new DeviceError(
        `tensor: ${showShape(this.shape)} ${this.dtype} has no memory yet (load its values first)`,
      )
    return this.memory
  }

  /** Says how many operations use it, to a kind that waits until it is used: all of them together. */
  usedBy(_operations: number): void {}

  /** Itself, computed by now where it is of a kind that waits until it is used. */
  computed(): this {
    return this
  }

  /** Whether it is a shape without memory. */
  get isMeta(): boolean {
    return this.memory === null
  }

  /** Whether it has let go of its memory. */
  get isDisposed(): boolean {
    return this.disposed
  }

  get device(): Device {
    return this.storage.device
  }

  get numel(): number {
    return numel(this.shape)
  }

  get byteLength(): number {
    return this.numel * dtypes[this.dtype].bytes
  }

  /** Size of dimension `axis`, counted from the end when negative. */
  size(axis: number): number {
    return this.shape[axis < 0 ? this.shape.length + axis : axis]
  }

  /**
   * The same values under another shape, of which one size may be −1: as many as the others leave. Shares the
   * memory.
   * @throws ShapeError if the number of values differs, or a size is no whole number.
   */
  view(shape: Shape): Tensor {
    return view(this, shape)
  }

  /** As `view`: every tensor is contiguous, so that none has to be copied for it. */
  reshape(shape: Shape): Tensor {
    return this.view(shape)
  }

  /** A copy with memory of its own. */
  clone(): Tensor {
    return clone(this)
  }

  /** The same values, through which no gradient passes; shares the memory. */
  detach(): Tensor {
    return detach(this)
  }

  /** Rows `start` to `end` (exclusive) of the first dimension; shares the memory. */
  rows(start: number, end: number): Tensor {
    return rows(this, start, end)
  }

  /** Overwrites the values with these bytes, after everything recorded before. */
  write(bytes: Uint8Array): void {
    if (bytes.byteLength !== this.byteLength) {
      throw new ShapeError(
        `write: ${this.dtype} ${showShape(this.shape)} takes ${this.byteLength} bytes; received ${bytes.byteLength}`,
      )
    }
    this.changed()
    this.device.write(this, bytes)
  }

  /** Resolves to a copy of the raw bytes, once everything recorded before has run. */
  readBytes(): Promise<Bytes> {
    return this.device.read(this, this.byteLength)
  }

  /** Resolves to the raw bits (for float16, bfloat16 and float8: bit patterns). */
  async read(): Promise<HostArray> {
    return viewAs(this.dtype, await this.readBytes())
  }

  /** Resolves to the values as numbers, whatever the dtype. */
  async toNumbers(): Promise<Float32Array | Float64Array> {
    return toNumbers(this.dtype, await this.read())
  }

  /**
   * Resolves to the value of a tensor that holds one, of whatever shape and dtype.
   * @throws ShapeError if it holds another number of values
   */
  async item(): Promise<number> {
    if (this.numel !== 1)
      throw new ShapeError(`item: the tensor must hold one value; received ${showShape(this.shape)}`)
    return (await this.toNumbers())[0]
  }

  /**
   * Adds the gradient of this loss, one value, to `grad` of every tensor with `requiresGrad` that it was
   * computed from. For use in the body of `enableGrad`, which notes how the loss is computed; `backward(() =>
   * loss)` does both.
   * @throws ShapeError unless it is one value that was computed in that body, from such a tensor, since the
   * last step of an optimizer
   */
  backward(): void {
    backwardFrom(this)
  }

  /**
   * Tensors computed from this one, made at the first call for `purpose` and given back with this one (or
   * when it is overwritten).
   */
  derive<T extends Tensor[]>(purpose: string, make: () => T): T {
    this.derived ??= new Map()
    let known = this.derived.get(purpose)
    if (!known) {
      known = keep(make())
      this.derived.set(purpose, known)
    }
    return known as T
  }

  /**
   * Says that the values are overwritten: what was derived from them is given back, and no gradient passes
   * through what was computed.
   */
  changed(): void {
    this.disposeDerived()
    noteChange(this)
  }

  private disposeDerived(): void {
    for (const tensors of this.derived?.values() ?? []) for (const tensor of tensors) tensor.dispose()
    this.derived = undefined
  }

  /** Itself: a float tensor has nothing to dequantize. */
  dequantize(): Tensor {
    return this
  }

  /** Lets go of the memory; a second call does nothing. */
  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    this.disposeDerived()
    this.grad?.dispose()
    this.grad = null
    this.memory?.release()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** `Tensor float32 [2,3] on native avx512` */
  toString(): string {
    return `Tensor ${this.dtype} ${showShape(this.shape)}${placeOf(this)}`
  }

  [inspect](): string {
    return this.toString()
  }
}

/** See `Tensor.view`. */
export const view = op(
  'view(x, shape)',
  (x: Tensor, shape: Shape) => {
    const sizes = inferShape('view', x.shape, shape)
    return new Tensor(x.isMeta ? null : x.storage.retain(), sizes, x.dtype, x.byteOffset)
  },
  ({ dy }, x) => [dy.view(x.shape)],
)

/** See `Tensor.clone`. */
export const clone = op(
  'clone(x)',
  (x: Tensor) => {
    const y = Tensor.empty(x.device, x.shape, x.dtype)
    if (x.numel > 0) x.device.call('copy', { x, y, bytes: x.byteLength })
    return y
  },
  ({ dy }) => [dy],
)

/** See `Tensor.detach`. */
export const detach = op(
  'detach(x)',
  (x: Tensor) => new Tensor(x.storage.retain(), x.shape, x.dtype, x.byteOffset),
)

/** See `Tensor.rows`. */
export const rows = op(
  'rows(x, start, end)',
  (x: Tensor, start: number, end: number) => {
    const count = x.shape[0]
    if (!(0 <= start && start <= end && end <= count && Number.isInteger(start) && Number.isInteger(end)))
      throw new ShapeError(
        `rows: must lie in 0..${count}; received ${start}..${end} of ${showShape(x.shape)}`,
      )
    const rowBytes = count === 0 ? 0 : x.byteLength / count
    const sizes = [end - start, ...x.shape.slice(1)]
    return new Tensor(x.storage.retain(), sizes, x.dtype, x.byteOffset + start * rowBytes)
  },
  ({ dy }, x, start, end) => {
    const dx = Tensor.full(x.device, x.shape, 0)
    if (dy.numel > 0) x.device.call('copy', { x: dy, y: dx.rows(start, end), bytes: dy.byteLength })
    return [dx]
  },
)

/** Copies the bits of x to y, of as many bytes: a place that others read. */
export const copyTo = op('copyTo(x, y)', (x: Tensor, y: Tensor): void => {
  if (x.byteLength !== y.byteLength)
    throw new ShapeError(`copyTo: y must have ${x.byteLength} bytes; received ${y.byteLength}`)
  y.changed()
  if (x.numel > 0) x.device.call('copy', { x, y, bytes: x.byteLength })
})

/** Where a tensor's memory is, as what is printed of it ends. */
export function placeOf(tensor: Tensor): string {
  return tensor.isDisposed ? ', disposed' : tensor.isMeta ? ' without memory' : ` on ${tensor.device.name}`
}

/** A tensor, quantized activations included. */
export const aTensor: Kind = instanceOf(Tensor, 'be a tensor', DTypeError)

/** @throws DTypeError unless `tensor` is a tensor */
export function checkTensor(operation: string, name: string, tensor: Tensor): void {
  if (!(tensor instanceof Tensor)) check(operation, name, tensor, aTensor)
}

/** @throws DTypeError unless the tensor has one of `allowed`. */
export function checkDType(operation: string, name: string, tensor: Tensor, ...allowed: DType[]): void {
  checkTensor(operation, name, tensor)
  if (!allowed.includes(tensor.dtype))
    throw new DTypeError(`${operation}: ${name} must be ${allowed.join(' or ')}; received ${tensor.dtype}`)
}

/** @throws ShapeError unless the tensor has exactly this shape. */
export function checkShape(operation: string, name: string, tensor: Tensor, shape: Shape): void {
  checkTensor(operation, name, tensor)
  if (!sameShape(tensor.shape, shape)) {
    throw new ShapeError(
      `${operation}: ${name} must be ${showShape(shape)}; received ${showShape(tensor.shape)}`,
    )
  }
}
