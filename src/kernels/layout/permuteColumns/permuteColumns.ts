/**
 * y[r,j] = x[r,order[j]], or with `back` the inverse, y[r,order[j]] = x[r,j]: columns in another order.
 * Values have `bytes` bytes.
 * @param x [rows, cols] raw values
 * @param order [cols] a permutation of 0 … cols − 1; the caller checks it. An entry outside moves nothing.
 * @param y [rows, cols] raw values
 */
export function permuteColumns(
  x: Uint8Array,
  order: Int32Array,
  y: Uint8Array,
  bytes: number,
  rows: number,
  cols: number,
  back: number,
): void {
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < cols; j++) {
      if (order[j] < 0 || order[j] >= cols) continue
      const [from, to] = back ? [j, order[j]] : [order[j], j]
      for (let b = 0; b < bytes; b++) y[(r * cols + to) * bytes + b] = x[(r * cols + from) * bytes + b]
    }
  }
}
