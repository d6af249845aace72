import type { DType, HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, roundHalfEven, roundTo, toNumbers } from '../../../core/halves.ts'
import { type QType, qtypesByCode, valueOfCode } from '../../../core/qtype.ts'

/**
 * codes[r,c] = the code of x[r,c], given the scale of row r and its offset: none, a shift or a zero point.
 *
 *     integers    clamp(rne((x + shift) / scale) + z, qmin, qmax)
 *     float8      float8(clamp(x / scale, qmin, qmax))
 *
 * Each operation is rounded to x's dtype, half to even; with `reciprocal`, as torchao computes it, the
 * quotient is a product with 1 / scale. A scale of 0 (a constant group, a row of zeros) gives the code of 0,
 * as does, on integer types, a quotient that is not a number: quanto's integer codes are 0 there too, its
 * float8 codes NaN.
 * Source: optimum-quanto 0.2.7, quantize_symmetric and quantize_affine; torchao 0.18, quantize_affine.
 * @param x [rows, cols] float32, float16 or bfloat16
 * @param scale [rows] in x's dtype, or [1] with a scaleStride of 0
 * @param shift as scale, or null
 * @param zeroPoint as scale, one byte each as the codes, or null
 * @param codes [rows, cols] one byte each: unsigned, int8 or float8
 * @param qmin,qmax range of the codes, the type's or less
 */
export function quantize(
  x: HostArray,
  dtype: number,
  scale: HostArray,
  scaleStride: number,
  shift: HostArray | null,
  zeroPoint: Uint8Array | null,
  codes: Uint8Array,
  rows: number,
  cols: number,
  qtype: number,
  qmin: number,
  qmax: number,
  reciprocal: number,
): void {
  const name = dtypeOfCode(dtype)
  const type = qtypesByCode[qtype]
  const values = toNumbers(name, x)
  const scales = toNumbers(name, scale)
  const shifts = shift && toNumbers(name, shift)
  const zeroPoints = zeroPoint && codeValues(type, zeroPoint)
  for (let i = 0; i < rows * cols; i++) {
    const at = Math.floor(i / cols) * scaleStride
    const units = unitsOf(name, values[i], scales[at], shifts ? shifts[at] : null, reciprocal !== 0)
    if (type.values !== 'float') {
      const z = zeroPoints?.[at] ?? 0
      codes[i] = clamp(Number.isNaN(units) ? z : roundHalfEven(units) + z, qmin, qmax)
    } else {
      codes[i] = encodeFloat(type.dtype, clamp(units, qmin, qmax))
    }
  }
}

/** The values of codes of one byte each. */
export function codeValues(type: QType, codes: Uint8Array): Float64Array {
  const values = Float64Array.from({ length: 256 }, (_, code) => valueOfCode(type, code))
  return new Float64Array(codes.length).map((_, i) => values[codes[i]])
}

/** x (plus a shift) in units of its scale, each operation rounded to `dtype`; 0 where the scale is. */
export function unitsOf(
  dtype: DType,
  x: number,
  scale: number,
  shift: number | null,
  reciprocal = false,
): number {
  if (scale === 0) return 0
  const shifted = shift === null ? x : roundTo(dtype, x + shift)
  return roundTo(dtype, reciprocal ? shifted * roundTo(dtype, 1 / scale) : shifted / scale)
}

/** `value` between `low` and `high`; NaN stays NaN. */
export function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high)
}
