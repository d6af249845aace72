import { ShapeError } from '../../core/errors.ts'
import { numel, type Shape, showShape } from '../../core/shape.ts'
import { overridden } from '../override.ts'
import { needsGrad, noGrad, record } from '../tape.ts'
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
export function matmul(a: Tensor, b: Tensor): Tensor {
  const own = overridden('matmul', a, b)
  if (own) return own
  checkDType('matmul', 'a', a, 'float32')
  checkDType('matmul', 'b', b, 'float32')
  if (a.shape.length === 1 || b.shape.length === 1) return vectorProduct(a, b)
  if (a.shape.length < 2 || b.shape.length < 2 || a.size(-1) !== b.size(-2)) {
    throw new ShapeError(
      `matmul: columns of a must equal rows of b, both of one dimension or more; received a ${showShape(a.shape)}, b ${showShape(b.shape)}`,
    )
  }
  const outer = broadcastShape('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2))
  const y = noGrad(() =>
    gemm(matrices(a, outer), matrices(b, outer)).view([...outer, a.size(-2), b.size(-1)]),
  )
  const [aNeeds, bNeeds] = [needsGrad(a), needsGrad(b)]
  return record(y, [a, b], (dy) => [
    aNeeds
      ? sumTo(
          gemm(matrices(dy, outer), matrices(b, outer), { bTransposed: true }).view([
            ...outer,
            ...a.shape.slice(-2),
          ]),
          a.shape,
        )
      : null,
    bNeeds ? gradientOfRight(a, b, dy, outer) : null,
  ])
}

/** The product where a or b is a vector: of matrices, without the dimension that the vector gave. */
function vectorProduct(a: Tensor, b: Tensor): Tensor {
  const [row, column] = [a.shape.length === 1, b.shape.length === 1]
  const y = matmul(row ? a.view([1, a.size(0)]) : a, column ? b.view([b.size(0), 1]) : b)
  const [outer, [M, N]] = [y.shape.slice(0, -2), y.shape.slice(-2)]
  return y.view([...outer, ...(row ? [] : [M]), ...(column ? [] : [N])])
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
