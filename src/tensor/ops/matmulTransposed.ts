import { dtypes } from '../../core/dtype.ts'
import { ShapeError } from '../../core/errors.ts'
import { numel, showShape } from '../../core/shape.ts'
import { op } from '../op.ts'
import { checkDType, checkShape, Tensor } from '../tensor.ts'
import { columnSum } from './columnSum.ts'

/** Which factors of a product are transposed, and what is added to its rows. */
interface Product {
  aTransposed?: boolean
  bTransposed?: boolean
  bias?: Tensor | null
}

/**
 * op(a) · op(b) + bias of matrices, without a tape: a [aBatch, M, K] and b [bBatch, K, N], taken in turn:
 * [batch, M, N], the larger batch.
 */
export function gemm(
  a: Tensor,
  b: Tensor,
  { aTransposed = false, bTransposed = false, bias = null }: Product = {},
): Tensor {
  const [aBatch, ...aShape] = a.shape
  const [bBatch, ...bShape] = b.shape
  const [M, K] = aTransposed ? aShape.reverse() : aShape
  const N = bShape[bTransposed ? 0 : 1]
  const batch = aBatch === 0 || bBatch === 0 ? 0 : Math.max(aBatch, bBatch)
  const y = Tensor.empty(a.device, [batch, M, N])
  const sizes = { batch, aBatch, bBatch, M, N, K }
  const transposed = { aTransposed: Number(aTransposed), bTransposed: Number(bTransposed) }
  if (y.numel > 0)
    a.device.call('gemm', { a, b, bDtype: dtypes[b.dtype].code, bias, y, ...sizes, ...transposed })
  return y
}

/** x as one matrix of its last dimension. */
const rowsOf = (x: Tensor) => x.view([1, numel(x.shape.slice(0, -1)), x.size(-1)])

/**
 * y = x · wᵀ + bias, a linear layer; dx = dy · w, dw = dyᵀ · x, dbias = Σ dy.
 * @param x [..., K] float32
 * @param w [N, K] float32, float16 or bfloat16
 * @param bias [N] float32, or null
 * @returns [..., N] float32
 * @throws ShapeError if the columns of x and w differ.
 */
export const matmulTransposed = op(
  'matmulTransposed(x, w, bias)',
  (x: Tensor, w: Tensor, bias: Tensor | null = null): Tensor => {
    checkDType('matmulTransposed', 'x', x, 'float32')
    checkDType('matmulTransposed', 'w', w, 'float32', 'float16', 'bfloat16')
    const [N, K] = w.shape
    if (w.shape.length !== 2 || x.size(-1) !== K) {
      throw new ShapeError(
        `matmulTransposed: columns of x (${x.size(-1)}) must equal columns of w (${K}); x ${showShape(x.shape)}, w ${showShape(w.shape)}`,
      )
    }
    checkBias('matmulTransposed', bias, N)
    const y = Tensor.empty(x.device, [...x.shape.slice(0, -1), N])
    const M = numel(x.shape.slice(0, -1))
    if (y.numel > 0) matmulInto(x, w, { bias, y, M, N, K })
    return y
  },
  ({ dy, needs }, x, w, bias = null) => {
    const rows = rowsOf(dy)
    return [
      needs(x) ? gemm(rows, w.view([1, ...w.shape])).view(x.shape) : null,
      needs(w) ? gemm(rows, rowsOf(x), { aTransposed: true }).view(w.shape) : null,
      needs(bias) ? columnSum(rows, 2) : null,
    ]
  },
)

/** Writes x · wᵀ + bias to y, or those of its rows that are in the span, without a tape. */
export function matmulInto(
  x: Tensor,
  w: Tensor,
  sizes: { bias: Tensor | null; y: Tensor; M: number; N: number; K: number; span?: Tensor },
): void {
  const one = { batch: 1, aBatch: 1, bBatch: 1, aTransposed: 0, bTransposed: 1 }
  x.device.call('gemm', { a: x, b: w, bDtype: dtypes[w.dtype].code, ...sizes, ...one })
}

/** A bias is [N] float32 or absent. */
export function checkBias(operation: string, bias: Tensor | null, N: number): void {
  if (!bias) return
  checkDType(operation, 'bias', bias, 'float32')
  checkShape(operation, 'bias', bias, [N])
}
