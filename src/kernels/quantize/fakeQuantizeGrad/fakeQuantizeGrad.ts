import { fakeCode } from '../fakeQuantize/fakeQuantize.ts'

/**
 * The gradients through `fakeQuantize`: straight through the rounding within the range, none beyond; and of
 * the scale.
 *
 *     q = rne(x / scale),  inside where qmin ≤ q + z ≤ qmax
 *     dx = inside ? dy : 0
 *     dscale[r] = Σ dy · (inside ? q − x / scale : clamp(q + z, qmin, qmax) − z) over row r
 *
 * Source: Esser et al., "Learned Step Size Quantization", 2020, equation 3.
 * @param x [rows, cols] float32
 * @param scale [rows] float32, or [1] with a scaleStride of 0
 * @param zeroPoint as scale, int32, or null for 0
 * @param dy [rows, cols] float32
 * @param dx [rows, cols] float32, may be dy
 * @param dscale [rows] float32: shares, to be summed where rows have one scale
 */
export function fakeQuantizeGrad(
  x: Float32Array,
  scale: Float32Array,
  zeroPoint: Int32Array | null,
  dy: Float32Array,
  dx: Float32Array,
  dscale: Float32Array,
  rows: number,
  cols: number,
  scaleStride: number,
  qmin: number,
  qmax: number,
): void {
  for (let r = 0; r < rows; r++) {
    const at = r * scaleStride
    let sum = 0
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      const { units, code, clamped } = fakeCode(x[i], scale[at], zeroPoint?.[at] ?? 0, qmin, qmax)
      const inside = code === clamped
      sum += dy[i] * (inside ? code - units : clamped)
      dx[i] = inside ? dy[i] : 0
    }
    dscale[r] = sum
  }
}
