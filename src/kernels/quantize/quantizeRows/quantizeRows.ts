import { roundHalfEven } from '../../../core/halves.ts'

/**
 * codes[r,c] = rne(x[r,c] · inv), inv = levels / max |x| over c's group: rows as signed bytes, with a scale
 * for each group of columns.
 *
 * scale = max |x| / levels, sum = Σ codes of the group. All in float32, each operation rounded; codes are
 * kept in −127 … 127. A group whose inv is not finite (all zeros, or nothing above 2^-121) has codes 0; one
 * that holds NaN or an infinity has codes 0 and scale NaN.
 * @param x [rows, cols] float32
 * @param codes [rows, stride] int8, stride = rowStride(cols), the next multiple of 64; zeros behind the last
 * column
 * @param scale [rows, groups] float32; groups = ⌈cols / groupSize⌉
 * @param sum [rows, groups] float32, whole numbers
 * @param groupSize at most 65536
 * @param levels 127; 127.5 gives torchao's scales, and the largest value a code that would be ±127.5
 */
export function quantizeRows(
  x: Float32Array,
  codes: Uint8Array,
  scale: Float32Array,
  sum: Float32Array,
  rows: number,
  cols: number,
  groupSize: number,
  levels: number,
): void {
  const stride = rowStride(cols)
  const groups = Math.ceil(cols / groupSize)
  codes.fill(0, 0, rows * stride)
  for (let r = 0; r < rows; r++) {
    for (let g = 0; g < groups; g++) {
      const end = Math.min(cols, (g + 1) * groupSize)
      let absmax = 0
      for (let c = g * groupSize; c < end; c++) absmax = Math.max(absmax, Math.abs(x[r * cols + c]))
      const inv = Math.fround(levels / absmax)
      const usable = Number.isFinite(absmax) && Number.isFinite(inv)
      let total = 0
      for (let c = g * groupSize; c < end; c++) {
        const code = usable
          ? Math.max(-127, Math.min(127, roundHalfEven(Math.fround(x[r * cols + c] * inv))))
          : 0
        codes[r * stride + c] = code
        total += code
      }
      scale[r * groups + g] = Number.isFinite(absmax) ? absmax / levels : NaN
      sum[r * groups + g] = total
    }
  }
}

/** Bytes from one row of codes to the next: cols rounded up to a multiple of 64. */
export function rowStride(cols: number): number {
  return Math.ceil(cols / 64) * 64
}
