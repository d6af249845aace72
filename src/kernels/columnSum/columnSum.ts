/**
 * y[c] = Σ_r x[r,c], summed in float64.
 * @param x [rows, cols] float32
 * @param y [cols] float32
 */
export function columnSum(x: Float32Array, y: Float32Array, rows: number, cols: number): void {
  for (let c = 0; c < cols; c++) {
    let sum = 0
    for (let r = 0; r < rows; r++) sum += x[r * cols + c]
    y[c] = sum
  }
}
