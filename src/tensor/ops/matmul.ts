import { ShapeError } from '../../core/errors.ts'
import { numel, type Shape, showShape } from '../../core/shape.ts'
import { op } from '../op.ts'
import { checkDType, type Tensor } from '../tensor.ts'
import { broadcastShape, expand, sumTo } from './broadcast.ts'
import { gemm } from './matmulTransposed.ts'

/**
 * y = a · b, matrix by matrix, as PyTorch and NumPy have it; da = dy · bᵀ, db = aᵀ · dy. Dimensions before
 * the last two are broadcast: missing ones, and those of size 1. A vector is a row on the left and a column
 * on the right; y lacks its dimension.
 * @param a [..., M, K] or [K] float32
 * @param b [..., K, N] or [K] float32
 * @returns [..., M, N] float32
 * @throws ShapeError if the factors do not fit each other.
 */
export const matmul = op(
  'matmul(a, b)',
  (a: Tensor, b: Tensor): Tensor => {
    checkDType('matmul', 'a', a, 'float32')
    checkDType('matmul', 'b', b, 'float32')
    const { left, right, outer, shape } = factors(a, b)
    return gemm(matrices(left, outer), matrices(right, outer)).view(shape)
  },
  ({ dy, needs }, a, b) => {
    const { left, right, outer } = factors(a, b)
    const dmatrices = dy.view([...outer, left.size(-2), right.size(-1)])
    return [
      needs(a) ? gradientOfLeft(left, right, dmatrices, outer).view(a.shape) : null,
      needs(b) ? gradientOfRight(left, right, dmatrices, outer).view(b.shape) : null,
    ]
  },
)

/**
 * Both factors as matrices, a vector on the left as a row and one on the right as a column; the dimensions
 * before theirs that the product has; and its shape, without the dimension of a vector.
 * @throws ShapeError if they do not fit each other
 */
function factors(a: Tensor, b: Tensor): { left: Tensor; right: Tensor; outer: Shape; shape: Shape } {
  const [row, column] = [a.shape.length === 1, b.shape.length === 1]
  const left = row ? a.view([1, a.size(0)]) : a
  const right = column ? b.view([b.size(0), 1]) : b
  if (left.shape.length < 2 || right.shape.length < 2 || left.size(-1) !== right.size(-2)) {
    throw new ShapeError(
      `matmul: columns of a must equal rows of b, both of one dimension or more; received a ${showShape(a.shape)}, b ${showShape(b.shape)}`,
    )
  }
  const outer = broadcastShape('matmul', left.shape.slice(0, -2), right.shape.slice(0, -2))
  const shape = [...outer, ...(row ? [] : [left.size(-2)]), ...(column ? [] : [right.size(-1)])]
  return { left, right, outer, shape }
}

/** da = dy · bᵀ, summed where a is shared. */
function gradientOfLeft(a: Tensor, b: Tensor, dy: Tensor, outer: Shape): Tensor {
  const each = gemm(matrices(dy, outer), matrices(b, outer), { bTransposed: true })
  return sumTo(each.view([...outer, ...a.shape.slice(-2)]), a.shape)
}

/** db = Σ aᵀ · dy; where all products share b, the rows of all a are the rows of one. */
function gradientOfRight(a: Tensor, b: Tensor, dy: Tensor, outer: Shape): Tensor {
  if (b.numel === b.size(-2) * b.size(-1) && numel(a.shape.slice(0, -2)) === numel(outer)) {
    const rows = (x: Tensor) => x.view([1, numel(x.shape.slice(0, -1)), x.size(-1)])
    return gemm(rows(a), rows(dy), { aTransposed: true }).view(b.shape)
  }
  const each = gemm(matrices(a, outer), matrices(dy, outer), { aTransposed: true })
  return sumTo(each.view([...outer, ...b.shape.slice(-2)]), b.shape)
}

/**
 * x as [count, R, C], whose matrices in turn are those of `outer`; copied only where a dimension of size 1
 * lies behind a larger one.
 */
function matrices(x: Tensor, outer: Shape): Tensor {
  const matrix = x.shape.slice(-2)
  const first = x.shape.slice(0, -2).findIndex((size) => size !== 1)
  const own = first < 0 ? [] : x.shape.slice(first, -2)
  const inner = outer.slice(outer.length - own.length)
  const whole = own.every((size, axis) => size === inner[axis])
    ? x
    : expand(x.view([...own, ...matrix]), [...inner, ...matrix])
  return whole.view([numel(inner), ...matrix])
}
