import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, roundHalfEven, roundTo, toNumbers } from '../../../core/halves.ts'
import { qtypesByCode } from '../../../core/qtype.ts'

/**
 * codes[r,c] = the code of x[r,c], given the scale of row r. Each operation is rounded to x's dtype, half to
 * even.
 *
 *     symmetric   clamp(rne(x / scale), −128, 127)            int8
 *     float8      float8(clamp(x / scale, −max, max))
 *     affine      clamp(rne((x + shift) / scale), 0, 2^b − 1)
 *
 * A scale of 0 (a constant group, a row of zeros) gives code 0, as does 0/0 on an integer type: quanto's
 * integer codes are 0 there too, its float8 codes NaN.
 * Source: optimum-quanto 0.2.7, quantize_symmetric and quantize_affine.
 * @param x [rows, cols] float32, float16 or bfloat16
 * @param scale [rows] in x's dtype
 * @param shift [rows] in x's dtype, for affine types, else null
 * @param codes [rows, cols] one byte each: unsigned, int8 or float8
 */
export function quantize(
  x: HostArray,
  dtype: number,
  scale: HostArray,
  shift: HostArray | null,
  codes: Uint8Array,
  rows: number,
  cols: number,
  qtype: number,
): void {
  const name = dtypeOfCode(dtype)
  const { qmin, qmax, dtype: codeDtype } = qtypesByCode[qtype]
  const integer = codeDtype === 'int8' || codeDtype === 'uint8'
  const values = toNumbers(name, x)
  const scales = toNumbers(name, scale)
  const shifts = shift ? toNumbers(name, shift) : null
  for (let r = 0; r < rows; r++) {
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      const shifted = shifts ? roundTo(name, values[i] + shifts[r]) : values[i]
      const quotient = scales[r] === 0 ? 0 : roundTo(name, shifted / scales[r])
      const clamped = Math.min(Math.max(quotient, qmin), qmax)
      codes[i] = integer ? roundHalfEven(clamped) : encodeFloat(codeDtype, clamped)
    }
  }
}
