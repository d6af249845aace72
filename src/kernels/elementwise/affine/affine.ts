/**
 * y = x · scale + offset, product and sum each rounded to float32.
 * @param x [count] float32
 * @param y [count] float32, may be x
 */
export function affine(x: Float32Array, scale: number, offset: number, y: Float32Array, count: number): void {
  for (let i = 0; i < count; i++) y[i] = Math.fround(x[i] * Math.fround(scale)) + Math.fround(offset)
}
