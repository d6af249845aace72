/**
 * dx = dy where low ≤ x ≤ high, else 0: the gradient of `clamp`.
 * @param x [count] float32
 * @param dy [count] float32
 * @param dx [count] float32, may be dy
 */
export function clampGrad(
  x: Float32Array,
  dy: Float32Array,
  low: number,
  high: number,
  dx: Float32Array,
  count: number,
): void {
  for (let i = 0; i < count; i++) dx[i] = x[i] >= low && x[i] <= high ? dy[i] : 0
}
