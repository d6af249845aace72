/**
 * y[r] = the column of the largest value of row r, the first of equals; NaN counts as the largest, as in
 * `torch.argmax`.
 * @param x [rows, cols] float32, cols ≥ 1
 * @param y [rows] int32
 */
export function argmax(x: Float32Array, y: Int32Array, rows: number, cols: number): void {
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * cols, (r + 1) * cols)
    let best = 0
    for (let c = 1; c < cols; c++) {
      if (row[c] > row[best] || (Number.isNaN(row[c]) && !Number.isNaN(row[best]))) best = c
    }
    y[r] = best
  }
}
