import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, toNumbers } from '../../../core/halves.ts'

/**
 * scale[r] = max |x[r,·]| / qmax, rounded to x's dtype: the symmetric scale of each row.
 * Source: optimum-quanto 0.2.7, AbsmaxOptimizer.
 * @param x [rows, cols] float32, float16 or bfloat16; a row is a group when the weight is grouped
 * @param scale [rows] in x's dtype
 * @param qmax the largest code: 127 for int8, 448, 57344 or 240 for float8
 */
export function absmaxScale(
  x: HostArray,
  dtype: number,
  scale: HostArray,
  rows: number,
  cols: number,
  qmax: number,
): void {
  const name = dtypeOfCode(dtype)
  const values = toNumbers(name, x)
  for (let r = 0; r < rows; r++) {
    let absmax = 0
    for (let c = 0; c < cols; c++) absmax = Math.max(absmax, Math.abs(values[r * cols + c]))
    scale[r] = encodeFloat(name, absmax / qmax)
  }
}
