/**
 * y = value everywhere.
 * @param y [count] float32
 */
export function fill(y: Float32Array, value: number, count: number): void {
  for (let i = 0; i < count; i++) y[i] = value
}
