import { aBoolean, orNull, wholeNumber } from '../../core/kinds.ts'
import type { OptionKinds } from '../../core/options.ts'
import { unsignedType } from '../../core/qtype.ts'
import type { QuantizeOptions } from '../quantize.ts'

/** Whole numbers with a scale and a zero point for each group, which GPTQ's, AWQ's and other files hold. */
export interface IntegerWeights {
  /** 1 to 8. Default: 4, or what another algorithm of the list says. */
  bits?: number
  /** Columns that share a scale; null for whole rows. Default: 128, or what another one says. */
  groupSize?: number | null
  /** Ranges from −m to m, whose zero point is the middle of the codes. Default false. */
  symmetric?: boolean
}

export const integerKinds: OptionKinds<IntegerWeights> = {
  bits: wholeNumber(1, 8),
  groupSize: orNull(wholeNumber(1)),
  symmetric: aBoolean,
}

/** The options of `quantize` for them; none where nothing was said, so that another algorithm may say it. */
export function integerWeights(options: IntegerWeights): Partial<Omit<QuantizeOptions, 'algorithm'>> {
  const { bits, groupSize, symmetric } = options
  if (bits === undefined && groupSize === undefined && symmetric === undefined) return {}
  return {
    weights: unsignedType(bits ?? 4),
    zeroPoints: true,
    symmetric: symmetric ?? false,
    groupSize: groupSize === undefined ? 128 : groupSize,
  }
}
