import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, toNumbers } from '../../../core/halves.ts'

/**
 * How far y lies from x, row by row: error[r] = Σ (x[r,c] − y[r,c])², norm[r] = Σ x[r,c]². Sums are taken in
 * float64 and rounded once.
 * @param x,y [rows, cols] float32, float16 or bfloat16
 * @param error,norm [rows] float32
 */
export function squaredError(
  x: HostArray,
  y: HostArray,
  dtype: number,
  error: Float32Array,
  norm: Float32Array,
  rows: number,
  cols: number,
): void {
  const name = dtypeOfCode(dtype)
  const [xs, ys] = [toNumbers(name, x), toNumbers(name, y)]
  for (let r = 0; r < rows; r++) {
    let [e, n] = [0, 0]
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      e += (xs[i] - ys[i]) ** 2
      n += xs[i] ** 2
    }
    error[r] = e
    norm[r] = n
  }
}
