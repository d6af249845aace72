import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, roundHalfEven, roundTo, toNumbers } from '../../../core/halves.ts'

/**
 * codes[r,c] = clamp(rne(x[r,c] / scale[r]) + z[r], qmin, qmax): codes around an integer zero point, which
 * stands for 0 exactly.
 *
 * With `reciprocal`, as torchao computes it, the quotient is x · (1 / scale); else, as quanto does, x /
 * scale. Every operation is rounded to x's dtype. A quotient that is not a number gives code z, a scale of 0
 * likewise.
 * Source: torchao 0.18, quantize_affine; optimum-quanto 0.2.7, quantize_affine with an integer shift.
 * @param x [rows, cols] float32, float16 or bfloat16
 * @param scale [rows] in x's dtype
 * @param zeroPoint [rows] one byte each, z + offset
 * @param codes [rows, cols] one byte each, code + offset
 * @param qmin,qmax range of the codes, in int8
 * @param offset what codes are stored above their value
 */
export function affineQuantize(
  x: HostArray,
  dtype: number,
  scale: HostArray,
  zeroPoint: Uint8Array,
  codes: Uint8Array,
  rows: number,
  cols: number,
  qmin: number,
  qmax: number,
  offset: number,
  reciprocal: number,
): void {
  const name = dtypeOfCode(dtype)
  const values = toNumbers(name, x)
  const scales = toNumbers(name, scale)
  for (let r = 0; r < rows; r++) {
    const z = ((zeroPoint[r] - offset) << 24) >> 24
    const inverse = roundTo(name, 1 / scales[r])
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      const units = roundTo(name, reciprocal ? values[i] * inverse : values[i] / scales[r])
      const code = scales[r] === 0 || Number.isNaN(units) ? z : roundTo(name, roundHalfEven(units) + z)
      codes[i] = Math.min(Math.max(code, qmin), qmax) + offset
    }
  }
}
