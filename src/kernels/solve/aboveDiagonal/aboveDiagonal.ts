/**
 * x[i, j] ← 0 for j ≤ i: what lies above the diagonal is left.
 * @param x [cols, cols] float32
 */
export function aboveDiagonal(x: Float32Array, cols: number): void {
  for (let i = 0; i < cols; i++) x.fill(0, i * cols, i * cols + i + 1)
}
