import { roundHalfEven, roundTo } from '../../../core/halves.ts'
import { rowStride } from '../quantizeRows/quantizeRows.ts'

/**
 * Rows as int8 codes but for their outliers, as LLM.int8 splits them: h = float16(x), and column c is an
 * outlier where |h[r,c]| ≥ threshold in some row.
 *
 *     codes[r,c] = rne(h[r,c] · (1 / most · 127))     most = max |h[r,·]| of the values below the threshold
 *                = 0                                  in columns of outliers
 *
 * each operation rounded to float32. scale = most / 127 and sum = Σ codes of the row; as in quantizeRows, a
 * row of zeros has codes 0, one that holds NaN codes 0 and scale NaN.
 * Source: Dettmers et al., "LLM.int8()", 2022; bitsandbytes 0.50, `int8_vectorwise_quant`.
 * @param x [rows, cols] float32
 * @param codes [rows, rowStride(cols)] int8; zeros behind the last column
 * @param scale [rows] float32
 * @param sum [rows] float32, whole numbers
 * @param outliers [cols] 1 for columns of outliers, else 0
 * @param cols at most 65536
 * @param threshold above 0
 */
export function quantizeOutliers(
  x: Float32Array,
  codes: Uint8Array,
  scale: Float32Array,
  sum: Float32Array,
  outliers: Uint8Array,
  rows: number,
  cols: number,
  threshold: number,
): void {
  const halves = x.map((value) => roundTo('float16', value))
  const isOutlier = (value: number) => Math.abs(value) >= threshold
  for (let c = 0; c < cols; c++)
    outliers[c] = Array.from({ length: rows }, (_, r) => halves[r * cols + c]).some(isOutlier) ? 1 : 0
  codes.fill(0)
  for (let r = 0; r < rows; r++) {
    const row = halves.subarray(r * cols, (r + 1) * cols).map((value) => (isOutlier(value) ? 0 : value))
    const most = row.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0)
    const inverse = Math.fround(Math.fround(1 / most) * 127)
    const isRounded = (c: number) => Number.isFinite(inverse) && !outliers[c]
    const rounded = row.map((value, c) => (isRounded(c) ? roundHalfEven(Math.fround(value * inverse)) : 0))
    const kept = Int8Array.from(rounded, (code) => Math.max(-127, Math.min(127, code)))
    codes.set(kept, r * rowStride(cols))
    scale[r] = most / 127
    sum[r] = kept.reduce((total, code) => total + code, 0)
  }
}
