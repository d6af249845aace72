import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, toNumbers } from '../../../core/halves.ts'

/**
 * y[r,c] = x[r,c] / √(mean(x[r,·]²) + ε) · weight[c].
 * Source: Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019, equation 4.
 * @param x [rows, cols] float32
 * @param weight [cols] float32, float16 or bfloat16
 * @param y [rows, cols] float32, may be x
 */
export function rmsNorm(
  x: Float32Array,
  weight: HostArray,
  weightDtype: number,
  epsilon: number,
  y: Float32Array,
  rows: number,
  cols: number,
): void {
  const w = toNumbers(dtypeOfCode(weightDtype), weight)
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * cols, (r + 1) * cols)
    const rms = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / cols + Math.fround(epsilon))
    for (let c = 0; c < cols; c++) y[r * cols + c] = (row[c] / rms) * w[c]
  }
}
