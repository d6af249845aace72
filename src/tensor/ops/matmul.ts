import { dtypes } from '../../core/dtype.ts'
import { ShapeError } from '../../core/errors.ts'
import { showShape } from '../../core/shape.ts'
import { checkDType, checkShape, Tensor } from '../tensor.ts'

/**
 * y = x · wᵀ + bias, a linear layer.
 * @param x [..., K] float32
 * @param w [N, K] float32, float16 or bfloat16
 * @param bias [N] float32, or null
 * @returns [..., N] float32
 * @throws ShapeError if the columns of x and w differ.
 */
export function matmul(x: Tensor, w: Tensor, bias: Tensor | null = null): Tensor {
  checkDType('matmul', 'x', x, 'float32')
  checkDType('matmul', 'w', w, 'float32', 'float16', 'bfloat16')
  const [N, K] = w.shape
  if (w.shape.length !== 2 || x.size(-1) !== K) {
    throw new ShapeError(
      `matmul: columns of x (${x.size(-1)}) must equal columns of w (${K}); x ${showShape(x.shape)}, w ${showShape(w.shape)}`,
    )
  }
  checkBias('matmul', bias, N)
  const y = Tensor.empty(x.device, [...x.shape.slice(0, -1), N])
  const M = x.numel / K
  if (M > 0) x.device.call('matmul', x, w, dtypes[w.dtype].code, bias, y, M, N, K)
  return y
}

/** A bias is [N] float32 or absent. */
export function checkBias(operation: string, bias: Tensor | null, N: number): void {
  if (!bias) return
  checkDType(operation, 'bias', bias, 'float32')
  checkShape(operation, 'bias', bias, [N])
}
