import type { HostArray } from '../../../core/dtype.ts'
import { rmsNorm } from '../../norm/rmsNorm/rmsNorm.ts'
import { quantizeRows } from '../quantizeRows/quantizeRows.ts'

/**
 * codes, scale and sum as `quantizeRows` of y, y = x / √(mean(x²) + ε) · weight as `rmsNorm`, which is not
 * kept: of a row's y a few groups at a time are made, and rounded while they are in the nearest cache. On
 * every device the result is bit for bit that of both kernels one behind the other.
 * @param x [rows, cols] float32
 * @param weight [cols] float32, float16 or bfloat16
 * @param codes [rows, rowStride(cols)] int8
 * @param scale,sum [rows, ⌈cols / groupSize⌉] float32
 * @param groupSize at most 256
 */
export function quantizeRmsNorm(
  x: Float32Array,
  weight: HostArray,
  weightDtype: number,
  epsilon: number,
  codes: Uint8Array,
  scale: Float32Array,
  sum: Float32Array,
  rows: number,
  cols: number,
  groupSize: number,
  levels: number,
): void {
  const y = new Float32Array(rows * cols)
  rmsNorm(x, weight, weightDtype, epsilon, y, rows, cols)
  quantizeRows(y, codes, scale, sum, rows, cols, groupSize, levels)
}
