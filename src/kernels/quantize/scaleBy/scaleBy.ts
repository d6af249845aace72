/**
 * y[i] = factor · x[i], the factor on the device.
 * @param x [count] float32
 * @param factor [1] float32
 * @param y [count] float32
 */
export function scaleBy(x: Float32Array, factor: Float32Array, y: Float32Array, count: number): void {
  for (let i = 0; i < count; i++) y[i] = factor[0] * x[i]
}
