import { rowStride } from '../quantizeRows/quantizeRows.ts'

/**
 * Lays codes out as qmatmulInt8 takes its x: rows rowStride(cols) apart with zeros behind them, and sum[r] =
 * Σ codes of row r.
 * @param codes [rows, cols] int8
 * @param padded [rows, rowStride(cols)] int8
 * @param sum [rows] float32, whole numbers
 */
export function padRows(
  codes: Uint8Array,
  padded: Uint8Array,
  sum: Float32Array,
  rows: number,
  cols: number,
): void {
  const stride = rowStride(cols)
  for (let r = 0; r < rows; r++) {
    const row = codes.subarray(r * cols, (r + 1) * cols)
    padded.fill(0, r * stride, (r + 1) * stride)
    padded.set(row, r * stride)
    sum[r] = row.reduce((total, code) => total + ((code << 24) >> 24), 0)
  }
}
