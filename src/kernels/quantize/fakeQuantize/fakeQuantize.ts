import { roundHalfEven } from '../../../core/halves.ts'

/**
 * One value in units of its scale, the code it is rounded to, and that code within its range; the zero point
 * is taken from all.
 */
export interface FakeCode {
  units: number
  code: number
  clamped: number
}

/**
 * The code of x for a scale and a zero point; the quotient is rounded to float32, and 0 where the scale is.
 * NaN stays NaN.
 */
export function fakeCode(x: number, scale: number, zeroPoint: number, qmin: number, qmax: number): FakeCode {
  const units = scale === 0 ? 0 : Math.fround(x / scale)
  // + 0: there is no code −0.
  const code = roundHalfEven(units) + 0
  return { units, code, clamped: Math.min(Math.max(code, qmin - zeroPoint), qmax - zeroPoint) }
}

/**
 * y = scale · (clamp(rne(x / scale) + z, qmin, qmax) − z): what is left of x once it is quantized. NaN stays
 * NaN.
 *
 * Row r takes scale[r · scaleStride] and its zero point.
 * Source: PyTorch, `fake_quantize_per_tensor_affine`, which multiplies by 1 / scale instead.
 * @param x [rows, cols] float32
 * @param scale [rows] float32, or [1] with a scaleStride of 0
 * @param zeroPoint as scale, int32, or null for 0
 * @param y [rows, cols] float32, may be x
 */
export function fakeQuantize(
  x: Float32Array,
  scale: Float32Array,
  zeroPoint: Int32Array | null,
  y: Float32Array,
  rows: number,
  cols: number,
  scaleStride: number,
  qmin: number,
  qmax: number,
): void {
  for (let i = 0; i < rows * cols; i++) {
    const at = Math.floor(i / cols) * scaleStride
    y[i] = scale[at] * fakeCode(x[i], scale[at], zeroPoint?.[at] ?? 0, qmin, qmax).clamped
  }
}
