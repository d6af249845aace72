import { encodeFloat, roundHalfEven } from '../../../core/halves.ts'
import { qtypesByCode } from '../../../core/qtype.ts'

/**
 * codes[i] = clamp(rne(x[i] / scale), −128, 127), or float8(clamp(x[i] / scale, −max, max)); the quotient is
 * rounded to float32.
 *
 * One scale, which lies on the device. A scale of 0 gives code 0, and so does NaN on int8.
 * Source: optimum-quanto 0.2.7, library/quantize.py, `quantize_symmetric`.
 * @param x [count] float32
 * @param scale [1] float32
 * @param codes [count] int8 or float8
 * @param qtype of 8 bits, symmetric
 */
export function quantizeActivation(
  x: Float32Array,
  scale: Float32Array,
  codes: Uint8Array,
  count: number,
  qtype: number,
): void {
  const { qmin, qmax, dtype } = qtypesByCode[qtype]
  for (let i = 0; i < count; i++) {
    const quotient = scale[0] === 0 ? 0 : Math.fround(x[i] / scale[0])
    const clamped = Math.min(Math.max(quotient, qmin), qmax)
    codes[i] = dtype === 'int8' ? roundHalfEven(clamped) : encodeFloat(dtype, clamped)
  }
}
