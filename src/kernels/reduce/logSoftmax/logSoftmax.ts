/**
 * y[r,c] = x[r,c] − log Σ exp(x[r,·]), by way of the row's maximum.
 * @param x [rows, cols] float32
 * @param y [rows, cols] float32, may be x
 */
export function logSoftmax(x: Float32Array, y: Float32Array, rows: number, cols: number): void {
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * cols, (r + 1) * cols)
    const max = row.reduce((largest, value) => Math.max(largest, value), -Infinity)
    const logSum = Math.log(row.reduce((total, value) => total + Math.exp(value - max), 0))
    for (let c = 0; c < cols; c++) y[r * cols + c] = row[c] - max - logSum
  }
}
