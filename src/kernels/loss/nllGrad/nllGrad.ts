/**
 * dx[r,c] = −dloss[r]·((1 − s)·[c = targets[r]] + s/cols), the gradient of `nll` by its log-probabilities; 0
 * in rows whose target is `ignoreIndex`, NaN in those whose target lies outside 0..cols−1.
 * @param targets [rows] int32
 * @param dloss [rows] float32
 * @param dx [rows, cols] float32
 */
export function nllGrad(
  targets: Int32Array,
  dloss: Float32Array,
  smoothing: number,
  ignoreIndex: number,
  dx: Float32Array,
  rows: number,
  cols: number,
): void {
  const s = Math.fround(smoothing)
  for (let r = 0; r < rows; r++) {
    const target = targets[r]
    const ignored = target === ignoreIndex
    const valid = ignored || (target >= 0 && target < cols)
    for (let c = 0; c < cols; c++) {
      const share = (c === target ? 1 - s : 0) + s / cols
      dx[r * cols + c] = ignored ? 0 : valid ? -dloss[r] * share : NaN
    }
  }
}
