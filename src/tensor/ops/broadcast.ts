import { ShapeError } from '../../core/errors.ts'
import { aString, check, show } from '../../core/kinds.ts'
import { numel, type Shape, sameShape, showShape } from '../../core/shape.ts'
import { reduceOps } from '../../kernels/reduce/reduce/reduce.ts'
import { checkSizes } from '../creation.ts'
import { op } from '../op.ts'
import { checkTensor, Tensor } from '../tensor.ts'
import { permute } from './shape.ts'
import { contiguous, full, gather } from './strided.ts'

/**
 * The shape of what is computed from both: sizes are equal, or 1 and repeated. @throws ShapeError if they
 * differ otherwise
 */
export function broadcastShape(operation: string, a: Shape, b: Shape): Shape {
  check('broadcastShape', 'operation', operation, aString)
  if (!Array.isArray(a) || !Array.isArray(b))
    throw new ShapeError(`${operation}: shapes must be lists of sizes; received ${show(a)} and ${show(b)}`)
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, axis) => {
    const [m, n] = [a[axis - rank + a.length] ?? 1, b[axis - rank + b.length] ?? 1]
    if (m !== n && m !== 1 && n !== 1) {
      throw new ShapeError(
        `${operation}: sizes must be equal or 1 along every axis; received ${showShape(a)} and ${showShape(b)}`,
      )
    }
    return m === 1 ? n : m
  })
}

/**
 * x repeated along axes of size 1, and along new ones before the first, until it has `shape`. Any dtype.
 * @throws ShapeError if another size would have to change
 */
export const expand = op(
  'expand(x, shape)',
  (x: Tensor, shape: Shape): Tensor => {
    checkTensor('expand', 'x', x)
    checkSizes('expand', shape)
    if (sameShape(x.shape, shape)) return x.view(shape)
    const lead = shape.length - x.shape.length
    if (lead < 0 || x.shape.some((size, axis) => size !== shape[axis + lead] && size !== 1)) {
      throw new ShapeError(
        `expand: ${showShape(x.shape)} must have sizes of ${showShape(shape)} or 1; received ${showShape(x.shape)}`,
      )
    }
    const { strides } = contiguous(x.shape)
    const repeated = shape.map((size, axis) =>
      axis < lead || x.shape[axis - lead] !== size ? 0 : strides[axis - lead],
    )
    return gather('expand', x, shape, { strides: repeated, offset: 0 })
  },
  ({ dy }, x) => [sumTo(dy, x.shape)],
)

/**
 * The sum of x [...] float32 over the axes that `expand` from `shape` would repeat; itself when there are
 * none. No gradient.
 */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x.view(shape)
  const lead = x.shape.length - shape.length
  const summed = x.shape.map((size, axis) => axis < lead || (shape[axis - lead] === 1 && size !== 1))
  const kept = x.shape.map((_, axis) => axis).filter((axis) => !summed[axis])
  const gone = x.shape.map((_, axis) => axis).filter((axis) => summed[axis])
  if (gone.length === 0) return x.view(shape)
  const [rows, cols] = [kept, gone].map((axes) => numel(axes.map((axis) => x.shape[axis])))
  if (rows === 0 || cols === 0) return full(x, 0, shape)
  const y = Tensor.empty(x.device, shape)
  // Summed axes before all others, or behind them, need not be moved.
  if (gone.every((axis) => kept.every((other) => axis < other)))
    x.device.call('columnSum', { x, y, rows: cols, cols: rows, inner: 1 })
  else {
    const inOrder = kept.every((axis) => gone.every((other) => axis < other))
    x.device.call('reduce', {
      op: reduceOps.sum,
      x: inOrder ? x : permute(x, [...kept, ...gone]),
      y,
      rows,
      cols,
    })
  }
  return y
}
