import { oneOf, wholeNumber } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import type { CalibratedAlgorithm } from '../calibrated/algorithm.ts'

/** What is turned. */
export interface RotateOptions {
  /**
   * residual: what embeddings and layers add to one another; head: the values of each head of attention.
   * Default both, the second where the model allows it.
   */
  hadamard?: 'residual' | 'head'
  /** Of the random signs; default 0. */
  seed?: number
}

const optionKinds: OptionKinds<RotateOptions> = {
  hadamard: oneOf('residual', 'head'),
  seed: wholeNumber(0),
}

/**
 * Turns what passes between layers by random orthogonal matrices, merged into the weights: what stands out in
 * one channel is spread over all of them, and weights and activations round better. The float model computes
 * the same. An embedding that shares its weight with the head gets one of its own.
 * Source: Ashkboos et al., "QuaRot", 2024; Liu et al., "SpinQuant", 2024, R1 and R2.
 */
export function rotate(options: RotateOptions = {}): CalibratedAlgorithm {
  checkOptions('rotate', options, optionKinds)
  return {
    name: 'rotate',
    settings: { ...options },
    async prepare(run) {
      const { rotateModel } = await import('./rotateModel.ts')
      await rotateModel(run, options)
    },
  }
}
