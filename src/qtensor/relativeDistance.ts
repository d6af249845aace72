import { dtypes } from '../core/dtype.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { reduce } from '../tensor/ops/reduce.ts'
import { scope } from '../tensor/scope.ts'
import { checkShape, Tensor } from '../tensor/tensor.ts'
import { matrixShape } from './parts.ts'

/**
 * ‖W − Ŵ‖₂ / ‖W‖₂ of two tensors of one shape, 0 for zeros.
 * @param weights makes them, in a scope of its own
 */
export async function relativeDistance(
  weights: () => [original: Tensor, quantized: Tensor],
): Promise<number> {
  const [error, norm] = scope(() => squaredErrors(...weights()))
  const [numerator] = await error.toNumbers()
  const [denominator] = await norm.toNumbers()
  error.dispose()
  norm.dispose()
  return denominator === 0 ? 0 : Math.sqrt(numerator / denominator)
}

/** Σ (w − ŵ)² and Σ w² of two tensors of one shape, one value each. */
export function squaredErrors(original: Tensor, quantized: Tensor): [error: Tensor, norm: Tensor] {
  const dtype = original.dtype === quantized.dtype ? original.dtype : 'float32'
  const [x, y] = [cast(original, dtype), cast(quantized, dtype)]
  checkShape('relativeError', 'quantized', y, x.shape)
  const [rows, cols] = matrixShape(x.shape.length > 1 ? x.shape : [1, x.numel])
  const error = Tensor.empty(x.device, [1, rows])
  const norm = Tensor.empty(x.device, [1, rows])
  x.device.call('squaredError', { x, y, dtype: dtypes[dtype].code, error, norm, rows, cols })
  return [reduce('sum', error), reduce('sum', norm)]
}
