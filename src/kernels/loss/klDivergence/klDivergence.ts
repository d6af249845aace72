/**
 * kl[r] = Σ p·(log p − log q), p = softmax(logits[r,·]), q = softmax(otherLogits[r,·]); terms with p = 0
 * count 0.
 * @param logits [rows, cols] float32
 * @param otherLogits [rows, cols] float32
 * @param kl [rows] float32
 */
export function klDivergence(
  logits: Float32Array,
  otherLogits: Float32Array,
  kl: Float32Array,
  rows: number,
  cols: number,
): void {
  for (let r = 0; r < rows; r++) {
    const logP = logSoftmax(logits.subarray(r * cols, (r + 1) * cols))
    const logQ = logSoftmax(otherLogits.subarray(r * cols, (r + 1) * cols))
    kl[r] = logP.reduce((sum, log, c) => (log === -Infinity ? sum : sum + Math.exp(log) * (log - logQ[c])), 0)
  }
}

function logSoftmax(row: Float32Array): Float64Array {
  const max = row.reduce((largest, value) => Math.max(largest, value), -Infinity)
  const logSum = Math.log(row.reduce((total, value) => total + Math.exp(value - max), 0))
  return Float64Array.from(row, (value) => value - max - logSum)
}
