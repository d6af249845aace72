import { aFloatDType, type FloatDType } from '../../core/dtype.ts'
import { aBoolean, orNull, wholeNumber } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import type { CalibratedAlgorithm } from '../calibrated/algorithm.ts'
import { type ScalingMapping, someMappings } from '../structure/mappings.ts'
import { type IntegerWeights, integerKinds, integerWeights } from './integerWeights.ts'

/** How `awq` searches, and what weights become: by default 4 bits, groups of 128. */
export interface AwqOptions extends IntegerWeights {
  /** The dtype of scales; null: the weight's. Default float16, which AWQ's files hold. */
  scaleDtype?: FloatDType | null
  /** Exponents that are tried, 0 to 1 − 1 / grid. Default 20. */
  grid?: number
  /** Whether scales are by the magnitudes of weights, too, not of inputs alone. Default true. */
  duoScaling?: boolean
  /**
   * Whether weights are cut off where their groups then round best; those that queries and keys are made with
   * are not. Default: where layers are rounded, not where another algorithm solves them.
   */
  clip?: boolean
  /** Tokens that scales of several layers are compared on, about, of samples spread evenly. Default 2048. */
  searchTokens?: number
  /** Which layers get scales, and what before them takes these over. Default: all where a factor passes. */
  mappings?: readonly ScalingMapping[]
}

const optionKinds: OptionKinds<AwqOptions> = {
  ...integerKinds,
  scaleDtype: orNull(aFloatDType),
  grid: wholeNumber(1),
  duoScaling: aBoolean,
  clip: aBoolean,
  searchTokens: wholeNumber(1),
  mappings: someMappings,
}

/**
 * AWQ, for `quantizeCalibrated`: columns of weights that multiply large inputs are made larger before they
 * are rounded, and what gives the inputs smaller; of a grid of factors those with the least error of a block's
 * output, then weights are clipped.
 *
 *     await quantizeCalibrated(model, { algorithm: awq({ bits: 4, groupSize: 64 }), data })
 *
 * Source: Lin et al., "AWQ: Activation-aware Weight Quantization", 2023; AutoAWQ 0.2.9.
 */
export function awq(options: AwqOptions = {}): CalibratedAlgorithm {
  checkOptions('awq', options, optionKinds)
  const { bits = 4, groupSize, symmetric, scaleDtype = 'float16' } = options
  return {
    name: 'awq',
    settings: { ...options },
    options: { ...integerWeights({ bits, groupSize, symmetric }), ...(scaleDtype && { scaleDtype }) },
    async prepare(run) {
      const { planAwq } = await import('./awqBlock.ts')
      planAwq(run, options)
    },
    async block(block) {
      const { awqBlock } = await import('./awqBlock.ts')
      await awqBlock(block, options)
    },
  }
}
