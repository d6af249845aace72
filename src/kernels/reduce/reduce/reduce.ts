/** The number of each operation in the kernels' ABI. */
export const reduceOps = { sum: 0, mean: 1, max: 2, min: 3, absmax: 4, norm: 5 } as const

/** In the order of their numbers; NaN propagates, and −0 < +0. */
const functions: readonly ((row: Float32Array) => number)[] = [
  (row) => row.reduce((sum, value) => sum + value, 0),
  (row) => row.reduce((sum, value) => sum + value, 0) / row.length,
  (row) => row.reduce((largest, value) => Math.max(largest, value), -Infinity),
  (row) => row.reduce((smallest, value) => Math.min(smallest, value), Infinity),
  (row) => row.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0),
  (row) => Math.sqrt(row.reduce((sum, value) => sum + value * value, 0)),
]

/**
 * y[r] = Σ, mean, max, min, max |·| or √Σ·² of row r of x; sums are taken in float64.
 * @param op one of `reduceOps`
 * @param x [rows, cols] float32, cols ≥ 1
 * @param y [rows] float32
 */
export function reduce(op: number, x: Float32Array, y: Float32Array, rows: number, cols: number): void {
  for (let r = 0; r < rows; r++) y[r] = functions[op](x.subarray(r * cols, (r + 1) * cols))
}
