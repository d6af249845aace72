/**
 * y[c] = Σ over r, i of x[r,c,i], the gradient of a bias; inner is 1 where columns lie innermost.
 * @param x [rows, cols, inner] float32
 * @param y [cols] float32
 */
export function columnSum(x: Float32Array, y: Float32Array, rows: number, cols: number, inner: number): void {
  for (let c = 0; c < cols; c++) {
    let sum = 0
    for (let r = 0; r < rows; r++) for (let i = 0; i < inner; i++) sum += x[(r * cols + c) * inner + i]
    y[c] = sum
  }
}
