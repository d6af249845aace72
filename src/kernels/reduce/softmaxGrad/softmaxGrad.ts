/**
 * dx[r,c] = y·(dy − Σ y·dy) of y = softmax(x), or with `log` dx = dy − eʸ·Σ dy of y = log softmax(x); sums
 * over row r in float64.
 * @param log 0 or 1
 * @param y [rows, cols] float32
 * @param dy [rows, cols] float32
 * @param dx [rows, cols] float32, may be dy
 */
export function softmaxGrad(
  log: number,
  y: Float32Array,
  dy: Float32Array,
  dx: Float32Array,
  rows: number,
  cols: number,
): void {
  for (let start = 0; start < rows * cols; start += cols) {
    let sum = 0
    for (let i = start; i < start + cols; i++) sum += log ? dy[i] : y[i] * dy[i]
    for (let i = start; i < start + cols; i++)
      dx[i] = log ? dy[i] - Math.exp(y[i]) * sum : y[i] * (dy[i] - sum)
  }
}
