import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, roundHalfEven, roundTo, toNumbers } from '../../../core/halves.ts'

/**
 * How the range of a row becomes the range of its codes: torchao's mapping types, by their numbers in the
 * kernels' ABI.
 */
export const mappings = { symmetric: 0, symmetricNoClippingError: 1, asymmetric: 2 } as const
export type Mapping = keyof typeof mappings

/**
 * scale[r] and the integer zero point z[r] of row r, for codes from qmin to qmax; the range min … max of the
 * row is made to hold 0.
 *
 *     symmetric                  scale = max |x| / ((qmax − qmin) / 2)                    z = 0
 *     symmetricNoClippingError   scale = the larger of min / qmin and max / qmax          z = 0
 *     asymmetric                 scale = (max − min) / (qmax − qmin)                      z = clamp(qmin − rne(min / scale), qmin, qmax)
 *
 * Every operation is rounded to x's dtype; a scale is at least epsilon. A zero point that is not a number is
 * qmin.
 * Source: torchao 0.18, quantization/quant_primitives.py, choose_qparams_affine.
 * @param x [rows, cols] float32, float16 or bfloat16; a row is a group when the weight is grouped
 * @param mapping one of `mappings`
 * @param scale [rows] in x's dtype
 * @param zeroPoint [rows] one byte each, z + offset
 * @param qmin,qmax range of the codes, qmin ≤ 0 ≤ qmax, in int8
 * @param offset what codes are stored above their value: 8 where −8 … 7 is stored as 0 … 15
 */
export function affineScale(
  x: HostArray,
  dtype: number,
  mapping: number,
  scale: HostArray,
  zeroPoint: Uint8Array,
  rows: number,
  cols: number,
  qmin: number,
  qmax: number,
  offset: number,
  epsilon: number,
): void {
  const name = dtypeOfCode(dtype)
  const values = toNumbers(name, x)
  for (let r = 0; r < rows; r++) {
    let min = 0
    let max = 0
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      min = Math.min(min, values[i])
      max = Math.max(max, values[i])
    }
    const chosen =
      mapping === mappings.symmetric
        ? Math.max(-min, max) / ((qmax - qmin) / 2)
        : mapping === mappings.asymmetric
          ? roundTo(name, max - min) / (qmax - qmin)
          : Math.max(roundTo(name, min / qmin), roundTo(name, max / qmax))
    const rounded = roundTo(name, Math.max(roundTo(name, chosen), Math.fround(epsilon)))
    const above = qmin - roundHalfEven(roundTo(name, min / rounded))
    const z = mapping === mappings.asymmetric ? (above >= qmin ? Math.min(above, qmax) : qmin) : 0
    scale[r] = encodeFloat(name, rounded)
    zeroPoint[r] = z + offset
  }
}
