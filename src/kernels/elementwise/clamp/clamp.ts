/**
 * y = x limited to low … high; NaN stays.
 * @param x [count] float32
 * @param y [count] float32, may be x
 */
export function clamp(x: Float32Array, low: number, high: number, y: Float32Array, count: number): void {
  for (let i = 0; i < count; i++) y[i] = Math.max(low, Math.min(high, x[i]))
}
