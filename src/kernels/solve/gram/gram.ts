/**
 * h ← rows / (rows + M) · h + 2 / (rows + M) · xᵀ·x, then rows ← rows + M: the running mean of 2·x·xᵀ over
 * all rows so far, the second derivative of a layer's squared output error by any row of its weight.
 * Source: Frantar et al., "GPTQ", 2023, eq. 1; auto_gptq 0.7.1, `add_batch`.
 * @param x [M, K] float32, what a layer multiplies
 * @param h [K, K] float32, symmetric
 * @param rows [1] float32, how many rows h is the mean of
 */
export function gram(x: Float32Array, h: Float32Array, rows: Float32Array, M: number, K: number): void {
  const total = rows[0] + M
  if (total === 0) return
  for (let i = 0; i < K; i++) {
    for (let j = i; j < K; j++) {
      let sum = 0
      for (let m = 0; m < M; m++) sum += x[m * K + i] * x[m * K + j]
      h[i * K + j] = (rows[0] / total) * h[i * K + j] + (2 / total) * sum
      h[j * K + i] = h[i * K + j]
    }
  }
  rows[0] = total
}
