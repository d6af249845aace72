import { either, oneOf, within } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { qint8 } from '../../core/qtype.ts'
import type { CalibratedAlgorithm } from '../calibrated/algorithm.ts'
import { type ScalingMapping, someMappings } from '../structure/mappings.ts'

/** How much of what activations make hard weights take over, and how activations are quantized. */
export interface SmoothQuantOptions {
  /**
   * From 0, where weights keep their range, to 1, where activations get one; `auto`: for each group of
   * layers the one of 0, 0.05 … 1 with the least error of their outputs. Default 0.5.
   */
  alpha?: number | 'auto'
  /**
   * dynamic: rounded to 8 bits in every pass, a scale for each token; static: by one scale for each layer's
   * inputs, which `calibrate` chooses by the same data. Default dynamic.
   */
  activations?: 'dynamic' | 'static'
  /** Which layers are smoothed, and what before them takes their factors. Default: behind normalizations. */
  mappings?: readonly ScalingMapping[]
}

const optionKinds: OptionKinds<SmoothQuantOptions> = {
  alpha: either('be a number from 0 to 1, or auto', within(0, 1), oneOf('auto')),
  activations: oneOf('dynamic', 'static'),
  mappings: someMappings,
}

/**
 * Makes activations easy to round: divides each channel of them by s = max|x|^α / max|w|^(1 − α), within the
 * normalization that gives it, and multiplies the columns of weights by that. Then weights and activations
 * are 8 bits, unless another algorithm says what weights become.
 *
 *     await quantizeCalibrated(model, { algorithm: smoothQuant({ alpha: 0.5 }), data })
 *
 * Source: Xiao et al., "SmoothQuant", 2023, equation 4; torchao 0.18, prototype/smoothquant.
 */
export function smoothQuant(options: SmoothQuantOptions = {}): CalibratedAlgorithm {
  checkOptions('smoothQuant', options, optionKinds)
  const isStatic = options.activations === 'static'
  return {
    name: 'smoothQuant',
    settings: { ...options },
    options: {
      weights: qint8,
      groupSize: null,
      ...(isStatic ? { activations: qint8 } : { computeDtype: 'int8PerToken' }),
    },
    async prepare(run) {
      const { smooth } = await import('./smooth.ts')
      await smooth(run, options)
    },
  }
}
