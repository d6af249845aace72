import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, toNumbers } from '../../../core/halves.ts'
import { qtypesByCode } from '../../../core/qtype.ts'

/**
 * y[r,c] = scale[r] · (q − z), q the value of codes[r,c] and z that of zeroPoint[r]: what codes around a zero
 * point stand for. The difference is exact, the product rounded to y's dtype.
 * Source: torchao 0.18, dequantize_affine.
 * @param codes [rows, cols] one byte each, unsigned or int8
 * @param scale [rows] in y's dtype
 * @param zeroPoint [rows] one byte each, as the codes
 * @param y [rows, cols] float32, float16 or bfloat16
 */
export function affineDequantize(
  codes: Uint8Array,
  qtype: number,
  scale: HostArray,
  zeroPoint: Uint8Array,
  y: HostArray,
  dtype: number,
  rows: number,
  cols: number,
): void {
  const name = dtypeOfCode(dtype)
  const value =
    qtypesByCode[qtype].dtype === 'int8' ? (byte: number) => (byte << 24) >> 24 : (byte: number) => byte
  const scales = toNumbers(name, scale)
  for (let r = 0; r < rows; r++) {
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      y[i] = encodeFloat(name, scales[r] * (value(codes[i]) - value(zeroPoint[r])))
    }
  }
}
