/**
 * y[r] = Σₛ weights[r, s] · x[places[r, s]]: rows that were computed apart, weighted and added.
 * @param x [any, cols] float32
 * @param places [rows, perRow] int32, rows of x
 * @param weights [rows, perRow] float32
 * @param y [rows, cols] float32
 */
export function combineRows(
  x: Float32Array,
  places: Int32Array,
  weights: Float32Array,
  y: Float32Array,
  rows: number,
  perRow: number,
  cols: number,
): void {
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      let sum = 0
      for (let i = r * perRow; i < (r + 1) * perRow; i++) sum += weights[i] * x[places[i] * cols + c]
      y[r * cols + c] = sum
    }
  }
}
