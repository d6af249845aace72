import { checkOptions, type OptionKinds } from '../../core/options.ts'
import type { CalibratedAlgorithm } from '../calibrated/algorithm.ts'
import { type GptaqQuantizerOptions, gptaqKinds, gptaqQuantizer } from '../gptaqQuantizer.ts'
import { type GptqOptions, gptqOptionKinds, storedIntegers } from './gptq.ts'

/** How `gptaq` quantizes. */
export interface GptaqOptions extends GptqOptions, GptaqQuantizerOptions {}

const optionKinds: OptionKinds<GptaqOptions> = { ...gptqOptionKinds, ...gptaqKinds }

/**
 * GPTAQ, for `quantizeCalibrated`: GPTQ that makes up for what inputs have drifted away from the float
 * model's, too. The samples pass through the float blocks as well.
 *
 *     await quantizeCalibrated(model, { algorithm: gptaq({ bits: 3, groupSize: 32 }), data })
 *
 * Source: Li et al., "GPTAQ: Efficient Finetuning-Free Quantization for Asymmetric Calibration", 2025. See
 * `gptaqQuantizer`.
 */
export function gptaq(options: GptaqOptions = {}): CalibratedAlgorithm {
  checkOptions('gptaq', options, optionKinds)
  const { actOrder, dampPercent, blockSize, scaleSearch, alpha, trueSequential = true } = options
  return {
    name: 'gptaq',
    settings: { ...options },
    options: storedIntegers(options),
    quantizer: gptaqQuantizer({ actOrder, dampPercent, blockSize, scaleSearch, alpha }),
    trueSequential,
  }
}
