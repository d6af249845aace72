/**
 * y = momentum · scale + next · (1 − momentum), each operation rounded to float32; y = next where the scale
 * is 1, which says that there was none before.
 * Source: optimum-quanto 0.2.7, calibrate.py, `_updated_scale`.
 * @param scale,next,y [1] float32
 * @param complement 1 − momentum, computed in float64
 */
export function movingScale(
  scale: Float32Array,
  next: Float32Array,
  y: Float32Array,
  momentum: number,
  complement: number,
): void {
  const kept = Math.fround(Math.fround(momentum) * scale[0])
  y[0] = scale[0] === 1 ? next[0] : kept + Math.fround(next[0] * Math.fround(complement))
}
