import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, roundTo, toNumbers } from '../../../core/halves.ts'
import { qtypesByCode } from '../../../core/qtype.ts'
import { codeValues } from '../quantize/quantize.ts'

/**
 * y[r,c] = scale · (q − z) − shift, q the value of codes[r,c], with the scale of row r and its offset: none,
 * a shift or a zero point. Each operation is rounded to y's dtype; the difference of integers is exact.
 * Source: optimum-quanto 0.2.7, QBytesDequantizer and QBitsDequantizer; torchao 0.18, dequantize_affine.
 * @param codes [rows, cols] one byte each, of any type
 * @param scale [rows] in y's dtype, or [1] with a scaleStride of 0
 * @param shift as scale, or null
 * @param zeroPoint as scale, one byte each as the codes, of integer types, or null
 * @param y [rows, cols] float32, float16 or bfloat16
 */
export function dequantize(
  codes: Uint8Array,
  qtype: number,
  scale: HostArray,
  scaleStride: number,
  shift: HostArray | null,
  zeroPoint: Uint8Array | null,
  y: HostArray,
  dtype: number,
  rows: number,
  cols: number,
): void {
  const name = dtypeOfCode(dtype)
  const type = qtypesByCode[qtype]
  const values = codeValues(type, codes)
  const scales = toNumbers(name, scale)
  const shifts = shift && toNumbers(name, shift)
  const zeroPoints = zeroPoint && codeValues(type, zeroPoint)
  for (let i = 0; i < rows * cols; i++) {
    const at = Math.floor(i / cols) * scaleStride
    const product = roundTo(name, scales[at] * (zeroPoints ? values[i] - zeroPoints[at] : values[i]))
    y[i] = encodeFloat(name, shifts ? product - shifts[at] : product)
  }
}
