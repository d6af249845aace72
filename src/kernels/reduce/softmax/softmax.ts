/**
 * y[r,c] = exp(x[r,c] − max) / Σ exp(x[r,·] − max), max over row r.
 * @param x [rows, cols] float32
 * @param y [rows, cols] float32, may be x
 */
export function softmax(x: Float32Array, y: Float32Array, rows: number, cols: number): void {
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * cols, (r + 1) * cols)
    const max = row.reduce((largest, value) => Math.max(largest, value), -Infinity)
    const sum = row.reduce((total, value) => total + Math.exp(value - max), 0)
    for (let c = 0; c < cols; c++) y[r * cols + c] = Math.exp(row[c] - max) / sum
  }
}
