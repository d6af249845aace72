import { dtypes } from '../../core/dtype.ts'
import { ShapeError } from '../../core/errors.ts'
import { show } from '../../core/kinds.ts'
import { numel, type Shape, showShape } from '../../core/shape.ts'
import type { Scalar } from '../../devices/commandList.ts'
import { checkTensor, Tensor } from '../tensor.ts'

/**
 * How the values of a shape lie in a tensor's memory: a stride for each dimension, counted in values, and
 * where the first one is; a scalar is read anew when a kept list runs.
 */
export interface Layout {
  strides: readonly number[]
  offset: number | Scalar
}

/** The layout of a contiguous tensor. */
export function contiguous(shape: Shape): Layout {
  const strides = new Array<number>(shape.length)
  let stride = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride
    stride *= shape[axis]
  }
  return { strides, offset: 0 }
}

/**
 * Copies the values of `shape` from one layout in x to another in y, of the same dtype.
 * @throws ShapeError if more than five dimensions remain after those that lie behind one another are joined
 */
export function copyStrided(
  operation: string,
  shape: Shape,
  x: Tensor,
  from: Layout,
  y: Tensor,
  to: Layout,
): void {
  if (numel(shape) === 0) return
  const dimensions: { size: number; x: number; y: number }[] = []
  for (let axis = 0; axis < shape.length; axis++) {
    const dimension = { size: shape[axis], x: from.strides[axis], y: to.strides[axis] }
    if (dimension.size === 1) continue
    const outer = dimensions.at(-1)
    if (outer && outer.x === dimension.x * dimension.size && outer.y === dimension.y * dimension.size) {
      Object.assign(outer, { size: outer.size * dimension.size, x: dimension.x, y: dimension.y })
    } else dimensions.push(dimension)
  }
  if (dimensions.length > 5)
    throw new ShapeError(`${operation}: takes up to 5 dimensions; received ${showShape(shape)}`)
  while (dimensions.length < 5) dimensions.unshift({ size: 1, x: 0, y: 0 })
  const [n0, n1, n2, n3, n4] = dimensions.map(({ size }) => size)
  const [x0, x1, x2, x3, x4] = dimensions.map((dimension) => dimension.x)
  const [y0, y1, y2, y3, y4] = dimensions.map((dimension) => dimension.y)
  const sizes = { n0, n1, n2, n3, n4, x0, x1, x2, x3, x4, y0, y1, y2, y3, y4 }
  const offsets = { xOffset: from.offset, yOffset: to.offset }
  x.device.call('stridedCopy', { x, y, bytes: dtypes[x.dtype].bytes, ...sizes, ...offsets })
}

/** A contiguous tensor of the values that `layout` finds in x. */
export function gather(operation: string, x: Tensor, shape: Shape, layout: Layout): Tensor {
  const y = Tensor.empty(x.device, shape, x.dtype)
  copyStrided(operation, shape, x, layout, y, contiguous(shape))
  return y
}

/** A float32 tensor of one value everywhere, on the device and by default of the shape of `like`. */
export function full(like: Tensor, value: number, shape?: Shape): Tensor {
  checkTensor('full', 'like', like)
  return Tensor.full(like.device, shape ?? like.shape, value)
}

/** Axis `axis` counted from the start. @throws ShapeError if the tensor has no such axis */
export function axisOf(operation: string, x: Tensor, axis: number): number {
  checkTensor(operation, 'x', x)
  const rank = x.shape.length
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank)
    throw new ShapeError(
      `${operation}: axis must lie in ${-rank}..${rank - 1}; received ${show(axis)} for ${showShape(x.shape)}`,
    )
  return axis < 0 ? axis + rank : axis
}
