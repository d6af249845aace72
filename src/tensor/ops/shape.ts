import { ShapeError } from '../../core/errors.ts'
import { check, show, wholeNumber } from '../../core/kinds.ts'
import { numel, type Shape, showShape } from '../../core/shape.ts'
import { currentValue } from '../../devices/commandList.ts'
import { op } from '../op.ts'
import type { Gradient } from '../tape.ts'
import { checkDType, checkShape, checkTensor, Tensor } from '../tensor.ts'
import { aPosition, type Position } from './position.ts'
import { axisOf, contiguous, copyStrided, full, gather, type Layout } from './strided.ts'

/**
 * y[i_axes[0], i_axes[1], …] = x[i₀, i₁, …]: axis k of y is axis `axes[k]` of x. Any dtype.
 * @throws ShapeError unless `axes` names every axis once
 */
export const permute = op(
  'permute(x, axes)',
  (x: Tensor, axes: readonly number[]): Tensor => {
    checkTensor('permute', 'x', x)
    checkList('permute', 'axes', axes)
    const order = orderOf(x, axes)
    if (order.length !== x.shape.length || new Set(order).size !== order.length) {
      throw new ShapeError(
        `permute: axes must name each of ${x.shape.length} once; received [${axes}] for ${showShape(x.shape)}`,
      )
    }
    const { strides } = contiguous(x.shape)
    const shape = order.map((axis) => x.shape[axis])
    return gather('permute', x, shape, { strides: order.map((axis) => strides[axis]), offset: 0 })
  },
  ({ dy }, x, axes): Gradient[] => {
    const order = orderOf(x, axes)
    return [
      permute(
        dy,
        order.map((_, axis) => order.indexOf(axis)),
      ),
    ]
  },
)

const orderOf = (x: Tensor, axes: readonly number[]) => axes.map((axis) => axisOf('permute', x, axis))

/** x with two axes exchanged. */
export function transpose(x: Tensor, axis0: number, axis1: number): Tensor {
  checkTensor('transpose', 'x', x)
  const axes = x.shape.map((_, axis) => axis)
  const [a, b] = [axisOf('transpose', x, axis0), axisOf('transpose', x, axis1)]
  axes[a] = b
  axes[b] = a
  return permute(x, axes)
}

/**
 * The part of x whose index along `axis` lies in start … end − 1, every `step`-th; negative ones count from
 * the end. Any dtype.
 * @throws ShapeError unless 0 ≤ start ≤ end ≤ size, and step is a positive integer
 */
export const slice = op(
  'slice(x, axis, start, end, step)',
  (x: Tensor, axis: number, start: number, end?: number, step: number = 1): Tensor => {
    const { shape, layout } = sliceOf(x, axis, start, end, step)
    return gather('slice', x, shape, layout)
  },
  ({ dy }, x, axis, start, end, step = 1) => {
    const { shape, layout } = sliceOf(x, axis, start, end, step)
    const dx = full(x, 0)
    copyStrided('slice', shape, dy, contiguous(shape), dx, layout)
    return [dx]
  },
)

/** The shape of a slice, and where its values lie in x. */
function sliceOf(
  x: Tensor,
  axis: number,
  start: number,
  end: number | undefined,
  step: number,
): { shape: Shape; layout: Layout } {
  const at = axisOf('slice', x, axis)
  const size = x.shape[at]
  const [first, last] = [
    start < 0 ? start + size : start,
    end === undefined ? size : end < 0 ? end + size : end,
  ]
  if (!(0 <= first && first <= last && last <= size && Number.isInteger(first) && Number.isInteger(last))) {
    throw new ShapeError(
      `slice: ${start}..${end ?? size} must lie in 0..${size} of axis ${axis}; received ${showShape(x.shape)}`,
    )
  }
  if (!Number.isInteger(step) || step < 1)
    throw new ShapeError(`slice: step must be a positive integer; received ${step}`)
  const { strides } = contiguous(x.shape)
  return {
    shape: x.shape.with(at, Math.ceil((last - first) / step)),
    layout: { strides: strides.with(at, step * strides[at]), offset: first * strides[at] },
  }
}

/**
 * `count` values of x [N] from `start` on, copied; any dtype, no gradient. Starts [B] int32 give [B, count]
 * of x int32; there a place outside takes the nearest value that there is.
 */
export const valuesAt = op(
  'valuesAt(x, start, count)',
  (x: Tensor, start: Position, count: number): Tensor => {
    checkTensor('valuesAt', 'x', x)
    check('valuesAt', 'start', start, aPosition)
    check('valuesAt', 'count', count, wholeNumber(0))
    if (start instanceof Tensor) {
      checkDType('valuesAt', 'x', x, 'int32')
      checkDType('valuesAt', 'start', start, 'int32')
      const [batch, length] = [start.numel, x.numel]
      const y = Tensor.empty(x.device, [batch, count], 'int32')
      x.device.call('valuesAt', { x, starts: start, y, batch, count, length })
      return y
    }
    const first = currentValue(start)
    if (first + count > x.numel)
      throw new ShapeError(
        `valuesAt: values must lie in 0..${x.numel - 1}; received ${first}..${first + count - 1}`,
      )
    return gather('valuesAt', x, [count], { strides: [1], offset: start })
  },
)

/**
 * Tensors laid behind one another along `axis`; all other sizes are equal. Any dtype.
 * @throws ShapeError if there are none, or their other sizes differ
 */
export const concat = op(
  'concat(tensors, axis)',
  (tensors: readonly Tensor[], axis: number = 0): Tensor => {
    checkList('concat', 'tensors', tensors)
    const [first] = tensors
    if (!first) throw new ShapeError('concat: needs at least one tensor; received none')
    const at = axisOf('concat', first, axis)
    let total = 0
    for (const x of tensors) {
      checkDType('concat', 'every tensor', x, first.dtype)
      checkShape('concat', 'every tensor', x, first.shape.with(at, x.shape[at]))
      total += x.shape[at]
    }
    const y = Tensor.empty(first.device, first.shape.with(at, total), first.dtype)
    const { strides } = contiguous(y.shape)
    let start = 0
    for (const x of tensors) {
      copyStrided('concat', x.shape, x, contiguous(x.shape), y, { strides, offset: start * strides[at] })
      start += x.shape[at]
    }
    return y
  },
  ({ dy }, tensors, axis = 0) => {
    const at = axisOf('concat', tensors[0], axis)
    let from = 0
    const slices = tensors.map((x) => {
      from += x.shape[at]
      return slice(dy, at, from - x.shape[at], from)
    })
    return [slices]
  },
)

/**
 * x in pieces along `axis`: of `sizes` values each, the last one shorter where they do not divide, or of the
 * sizes listed.
 * @throws ShapeError if listed sizes do not add up
 */
export function split(x: Tensor, sizes: number | readonly number[], axis = 0): Tensor[] {
  checkTensor('split', 'x', x)
  const size = x.shape[axisOf('split', x, axis)]
  if (typeof sizes !== 'number') checkList('split', 'sizes', sizes)
  if (typeof sizes === 'number' && !(Number.isInteger(sizes) && sizes > 0)) {
    throw new ShapeError(`split: pieces must hold at least one value; received ${sizes}`)
  }
  const list =
    typeof sizes === 'number'
      ? Array.from({ length: Math.ceil(size / sizes) }, (_, i) => Math.min(sizes, size - i * sizes))
      : sizes
  if (list.reduce((sum, one) => sum + one, 0) !== size) {
    throw new ShapeError(
      `split: sizes must add up to ${size}; received [${list}] for axis ${axis} of ${showShape(x.shape)}`,
    )
  }
  let start = 0
  return list.map((length) => {
    start += length
    return slice(x, axis, start - length, start)
  })
}

/** Tensors of one shape along a new axis: y [..., tensors.length, ...]. */
export function stack(tensors: readonly Tensor[], axis: number = 0): Tensor {
  checkList('stack', 'tensors', tensors)
  const [first] = tensors
  if (!first) throw new ShapeError('stack: needs at least one tensor; received none')
  checkTensor('stack', 'every tensor', first)
  for (const x of tensors) checkShape('stack', 'every tensor', x, first.shape)
  const at = axis < 0 ? axis + first.shape.length + 1 : axis
  if (!(Number.isInteger(at) && at >= 0 && at <= first.shape.length)) {
    throw new ShapeError(
      `stack: axis must lie in 0..${first.shape.length}; received ${axis} for ${showShape(first.shape)}`,
    )
  }
  return concat(
    tensors.map((x) => x.view([...x.shape.slice(0, at), 1, ...x.shape.slice(at)])),
    at,
  )
}

/** x with axes `start` … `end` joined into one; shares the memory. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  checkTensor('flatten', 'x', x)
  if (x.shape.length === 0) return x.view([1])
  const [first, last] = [axisOf('flatten', x, start), axisOf('flatten', x, end)]
  if (first > last)
    throw new ShapeError(
      `flatten: axes must be in order; received ${start}..${end} for ${showShape(x.shape)}`,
    )
  return x.view([
    ...x.shape.slice(0, first),
    numel(x.shape.slice(first, last + 1)),
    ...x.shape.slice(last + 1),
  ])
}

function checkList(operation: string, name: string, values: readonly unknown[]): void {
  if (!Array.isArray(values))
    throw new ShapeError(`${operation}: ${name} must be a list; received ${show(values)}`)
}
