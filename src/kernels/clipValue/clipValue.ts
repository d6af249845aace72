/**
 * x = min(max(x, −limit), limit); NaN stays.
 * @param x [count] float32, changed
 */
export function clipValue(x: Float32Array, limit: number, count: number): void {
  for (let i = 0; i < count; i++) x[i] = Math.min(Math.max(x[i], -limit), limit)
}
