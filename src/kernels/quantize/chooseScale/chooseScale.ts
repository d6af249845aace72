import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, roundHalfEven, roundTo, toNumbers } from '../../../core/halves.ts'

/** How the values of a row become its scale; by their numbers in the kernels' ABI. */
export const scaleRules = { absmax: 0, noClipping: 1, range: 2, edge: 3 } as const
export type ScaleRule = keyof typeof scaleRules

/**
 * The scale of each row for codes from qmin to qmax, and its offset where one is asked for.
 *
 *     absmax       scale = max |x| / ((qmax − qmin) / 2)
 *     noClipping   scale = the larger of min / qmin and max / qmax
 *     range        scale = (max − min) / (qmax − qmin)        shift = −min
 *                                                             z = clamp(qmin − rne(min / scale), qmin, qmax)
 *
 *     edge         e = the end of the range, min or max, of the larger magnitude; s = ±(max − min) / (qmax − qmin), below
 *                  0 where e is max; n = rne(e / s)
 *                  scale = e / n, shift = −e        so that e and 0 are codes; s and 0 where n is 0
 *
 * The range min … max is made to hold 0, but where shifts are asked for: they may be negative. The zero point
 * of the other rules is 0; one that is not a number is qmin. Every operation is rounded to x's dtype; a scale
 * is at least epsilon. −0 counts as less than +0.
 * Source: optimum-quanto 0.2.7, AbsmaxOptimizer and MaxOptimizer; torchao 0.18,
 * quantization/quant_primitives.py, choose_qparams_affine; mlx 0.32, backend/cpu/quantized.cpp, `quantize`
 * (edge).
 * @param rule one of `scaleRules`
 * @param x [rows, cols] float32, float16 or bfloat16; a row is a group when the weight is grouped
 * @param scale [rows] in x's dtype
 * @param shift [rows] in x's dtype, or null; of the rules `range` and `edge`
 * @param zeroPoint [rows] one byte each, z + zero, or null
 * @param qmin,qmax range of the codes, qmin ≤ 0 ≤ qmax
 * @param zero the code that is stored for 0: 8 where −8 … 7 is stored as 0 … 15
 */
export function chooseScale(
  rule: number,
  x: HostArray,
  dtype: number,
  scale: HostArray,
  shift: HostArray | null,
  zeroPoint: Uint8Array | null,
  rows: number,
  cols: number,
  qmin: number,
  qmax: number,
  zero: number,
  epsilon: number,
): void {
  const name = dtypeOfCode(dtype)
  const values = toNumbers(name, x)
  for (let r = 0; r < rows; r++) {
    let min = shift ? Infinity : 0
    let max = shift ? -Infinity : 0
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      min = Math.min(min, values[i])
      max = Math.max(max, values[i])
    }
    if (rule === scaleRules.edge && shift) {
      const [step, bias] = edgeOf(min, max, qmax - qmin, Math.fround(epsilon), (value) =>
        roundTo(name, value),
      )
      scale[r] = encodeFloat(name, step)
      shift[r] = encodeFloat(name, bias === 0 ? 0 : -bias)
      continue
    }
    const chosen =
      rule === scaleRules.absmax
        ? Math.max(-min, max) / ((qmax - qmin) / 2)
        : rule === scaleRules.range
          ? roundTo(name, max - min) / (qmax - qmin)
          : Math.max(roundTo(name, min / qmin), roundTo(name, max / qmax))
    const rounded = roundTo(name, Math.max(roundTo(name, chosen), Math.fround(epsilon)))
    scale[r] = encodeFloat(name, rounded)
    if (shift) shift[r] = encodeFloat(name, -min)
    if (!zeroPoint) continue
    const above = qmin - roundHalfEven(roundTo(name, min / rounded))
    const z = rule === scaleRules.range ? (above >= qmin ? Math.min(above, qmax) : qmin) : 0
    zeroPoint[r] = z + zero
  }
}

/** Scale and bias of the rule `edge`. */
function edgeOf(min: number, max: number, levels: number, epsilon: number, round: (value: number) => number) {
  const width = round(Math.max(round(round(max - min) / levels), epsilon))
  const isMin = Math.abs(min) > Math.abs(max)
  const edge = isMin ? min : max
  const step = isMin ? width : -width
  const n = roundHalfEven(round(edge / step))
  return n === 0 ? [step, 0] : [round(edge / n), edge]
}
