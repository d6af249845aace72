import type { HostArray } from '../../../core/dtype.ts'
import { decodeFloat, dtypeOfCode, encodeFloat, roundTo, toNumbers } from '../../../core/halves.ts'
import { qtypesByCode } from '../../../core/qtype.ts'

/**
 * y[r,c] = scale[r]·q (symmetric) or scale[r]·q − shift[r] (affine), q the value of codes[r,c]; each
 * operation is rounded to y's dtype.
 * Source: optimum-quanto 0.2.7, QBytesDequantizer and QBitsDequantizer.
 * @param codes [rows, cols] one byte each: unsigned, int8 or float8
 * @param scale [rows] in y's dtype
 * @param shift [rows] in y's dtype, for affine types, else null
 * @param y [rows, cols] float32, float16 or bfloat16
 */
export function dequantize(
  codes: Uint8Array,
  qtype: number,
  scale: HostArray,
  shift: HostArray | null,
  y: HostArray,
  dtype: number,
  rows: number,
  cols: number,
): void {
  const name = dtypeOfCode(dtype)
  const codeDtype = qtypesByCode[qtype].dtype
  const scales = toNumbers(name, scale)
  const shifts = shift ? toNumbers(name, shift) : null
  for (let r = 0; r < rows; r++) {
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      const code =
        codeDtype === 'uint8'
          ? codes[i]
          : codeDtype === 'int8'
            ? (codes[i] << 24) >> 24
            : decodeFloat(codeDtype, codes[i])
      const product = roundTo(name, scales[r] * code)
      y[i] = encodeFloat(name, shifts ? product - shifts[r] : product)
    }
  }
}
