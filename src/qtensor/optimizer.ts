import type { QType } from '../core/qtype.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** The scale of each group, and for affine types its shift. */
export interface ScaleAndShift {
  /** [groups] in the weight's dtype. */
  scale: Tensor
  /** [groups] in the weight's dtype; null for symmetric types. */
  shift: Tensor | null
}

/**
 * Chooses scales: takes the weight as a matrix whose rows are the groups, [groups, G] float32, float16 or bfloat16.
 * `absmax` and `max` are quanto's; users may pass their own.
 */
export type Optimizer = (groups: Tensor, qtype: QType) => ScaleAndShift
