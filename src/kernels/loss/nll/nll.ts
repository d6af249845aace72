/**
 * loss[r] = −(1 − s)·p[t] − s·mean(p), t = targets[r], p the row's log-probabilities and s the smoothing:
 * what a row adds to cross-entropy with label smoothing. A row whose target is `ignoreIndex` counts nothing;
 * any other target outside 0..cols−1 gives NaN.
 * Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, section 7.
 * @param logProbabilities [rows, cols] float32
 * @param targets [rows] int32
 * @param loss [rows] float32
 * @param counted [rows] float32: 1, or 0 where the row is ignored
 */
export function nll(
  logProbabilities: Float32Array,
  targets: Int32Array,
  smoothing: number,
  ignoreIndex: number,
  loss: Float32Array,
  counted: Float32Array,
  rows: number,
  cols: number,
): void {
  const s = Math.fround(smoothing)
  for (let r = 0; r < rows; r++) {
    const row = logProbabilities.subarray(r * cols, (r + 1) * cols)
    const ignored = targets[r] === ignoreIndex
    const mean = s === 0 ? 0 : row.reduce((sum, value) => sum + value, 0) / cols
    loss[r] = ignored ? 0 : -(1 - s) * (row[targets[r]] ?? NaN) - s * mean
    counted[r] = ignored ? 0 : 1
  }
}
