import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, roundTo, toNumbers } from '../../../core/halves.ts'

/**
 * scale[r] = (max − min) / levels and shift[r] = −min of row r, each operation rounded to x's dtype: the
 * affine scale of each row. The range need not include zero, so the shift may be negative. −0 counts as less
 * than +0.
 * Source: optimum-quanto 0.2.7, MaxOptimizer.
 * @param x [rows, cols] float32, float16 or bfloat16; a row is a group when the weight is grouped
 * @param scale [rows] in x's dtype
 * @param shift [rows] in x's dtype
 * @param levels the largest code, 2^bits − 1
 */
export function minmaxScale(
  x: HostArray,
  dtype: number,
  scale: HostArray,
  shift: HostArray,
  rows: number,
  cols: number,
  levels: number,
): void {
  const name = dtypeOfCode(dtype)
  const values = toNumbers(name, x)
  for (let r = 0; r < rows; r++) {
    let min = Infinity
    let max = -Infinity
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      min = Math.min(min, values[i])
      max = Math.max(max, values[i])
    }
    scale[r] = encodeFloat(name, roundTo(name, max - min) / levels)
    shift[r] = encodeFloat(name, -min)
  }
}
