import type { QType } from '../core/qtype.ts'
import type { Tensor } from '../tensor/tensor.ts'

/**
 * What a quantizer chose for each group: the scale, for unsigned types a shift or a zero point, and if it
 * likes the codes.
 */
export interface ScaleAndShift {
  /** [groups] in the weight's dtype, or in float32. */
  scale: Tensor
  /**
   * [groups] as the scale: w = scale · q − shift; null for symmetric types and where there are zero points.
   */
  shift: Tensor | null
  /** [groups] one byte each, as codes are stored: w = scale · (q − zeroPoint), which holds 0 exactly. */
  zeroPoint?: Tensor | null
  /** [groups, G] one byte each. Where they are absent, w gets the nearest code. */
  codes?: Tensor
}

/**
 * Chooses scales: takes the weight as a matrix whose rows are the groups, [groups, G] float32, float16 or
 * bfloat16. `absmax`, `max` and `hqq` are quanto's, those of the recipes torchao's; users may pass their own.
 */
export type Quantizer = (groups: Tensor, qtype: QType) => ScaleAndShift
