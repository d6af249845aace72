import { siluMul } from '../../elementwise/siluMul/siluMul.ts'
import { quantizeRows } from '../quantizeRows/quantizeRows.ts'

/**
 * codes, scale and sum as `quantizeRows` of y, y = silu(gate) · up as `siluMul`, which is not kept: a few
 * groups at a time are made, and rounded while they are in the nearest cache. On every device the result is
 * bit for bit that of both kernels one behind the other.
 * @param gate,up [rows, cols] float32
 * @param codes [rows, rowStride(cols)] int8
 * @param scale,sum [rows, ⌈cols / groupSize⌉] float32
 * @param groupSize at most 256
 */
export function quantizeSiluMul(
  gate: Float32Array,
  up: Float32Array,
  codes: Uint8Array,
  scale: Float32Array,
  sum: Float32Array,
  rows: number,
  cols: number,
  groupSize: number,
  levels: number,
): void {
  const y = new Float32Array(rows * cols)
  siluMul(gate, up, y, rows * cols)
  quantizeRows(y, codes, scale, sum, rows, cols, groupSize, levels)
}
