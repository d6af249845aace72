import type { HostArray } from '../../../core/dtype.ts'
import {
  decodeFloat,
  dtypeOfCode,
  encodeFloat,
  roundHalfEven,
  roundTo,
  toNumbers,
} from '../../../core/halves.ts'
import { qtypesByCode } from '../../../core/qtype.ts'
import { clamp, unitsOf } from '../quantize/quantize.ts'

/**
 * One value in units of its scale, the code it is rounded to, and that code within its range; the zero point
 * is taken from all.
 */
export interface FakeCode {
  units: number
  code: number
  clamped: number
}

/** The integer code of x for a scale and a zero point, in float32. NaN stays NaN. */
export function fakeCode(x: number, scale: number, zeroPoint: number, qmin: number, qmax: number): FakeCode {
  const units = unitsOf('float32', x, scale, null)
  // + 0: there is no code −0.
  const code = roundHalfEven(units) + 0
  return { units, code, clamped: clamp(code, qmin - zeroPoint, qmax - zeroPoint) }
}

/**
 * y = what is left of x once it is quantized: `dequantize(quantize(x))` of the same scales and offsets, bit
 * for bit, in one pass over x. NaN stays NaN, where an integer code would be 0.
 *
 *     integers    y = scale · (clamp(rne((x + shift) / scale) + z, qmin, qmax) − z) − shift
 *     float8      y = scale · float8(clamp(x / scale, qmin, qmax))
 *
 * It divides by the scale where PyTorch multiplies by 1 / scale: training sees the very codes that inference
 * computes. One pass, without codes between.
 * Source: PyTorch, `fake_quantize_per_tensor_affine`, which multiplies by 1 / scale instead.
 * @param x [rows, cols] float32, float16 or bfloat16
 * @param scale [rows] in x's dtype, or [1] with a scaleStride of 0
 * @param shift as scale, or null
 * @param zeroPoint as scale, int32, or null
 * @param y [rows, cols] in x's dtype, may be x
 * @param qtype says whether codes are integers, and if not, which float8
 */
export function fakeQuantize(
  x: HostArray,
  dtype: number,
  scale: HostArray,
  scaleStride: number,
  shift: HostArray | null,
  zeroPoint: Int32Array | null,
  y: HostArray,
  rows: number,
  cols: number,
  qtype: number,
  qmin: number,
  qmax: number,
): void {
  const name = dtypeOfCode(dtype)
  const { dtype: codeDtype } = qtypesByCode[qtype]
  const integer = codeDtype === 'int8' || codeDtype === 'uint8'
  const values = toNumbers(name, x)
  const scales = toNumbers(name, scale)
  const shifts = shift && toNumbers(name, shift)
  for (let i = 0; i < rows * cols; i++) {
    const at = Math.floor(i / cols) * scaleStride
    const units = unitsOf(name, values[i], scales[at], shifts ? shifts[at] : null)
    const z = zeroPoint?.[at] ?? 0
    // + 0: there is no code −0.
    const code = integer
      ? clamp(roundHalfEven(units) + 0, qmin - z, qmax - z)
      : decodeFloat(codeDtype, encodeFloat(codeDtype, clamp(units, qmin, qmax)))
    const product = roundTo(name, scales[at] * code)
    y[i] = encodeFloat(name, shifts ? product - shifts[at] : product)
  }
}
