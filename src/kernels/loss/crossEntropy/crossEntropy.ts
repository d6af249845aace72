/**
 * nll[r] = log Σ exp(logits[r,·]) − logits[r, targets[r]], the negative log-likelihood of the target under
 * softmax.
 * @param logits [rows, cols] float32
 * @param targets [rows] int32; one outside 0..cols−1 gives NaN
 * @param nll [rows] float32
 */
export function crossEntropy(
  logits: Float32Array,
  targets: Int32Array,
  nll: Float32Array,
  rows: number,
  cols: number,
): void {
  for (let r = 0; r < rows; r++) {
    const row = logits.subarray(r * cols, (r + 1) * cols)
    const max = row.reduce((largest, value) => Math.max(largest, value), -Infinity)
    const sum = row.reduce((total, value) => total + Math.exp(value - max), 0)
    nll[r] = Math.log(sum) + (max - (row[targets[r]] ?? NaN))
  }
}
