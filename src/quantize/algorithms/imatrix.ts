import { checkOptions, type OptionKinds, required } from '../../core/options.ts'
import type { CalibratedAlgorithm } from '../calibrated/algorithm.ts'
import { aGgufType, type GgufQuantizedType, ggufCodes, ggufQuantizer } from '../ggufQuantizers.ts'

/** What weights become. */
export interface ImatrixAlgorithmOptions {
  /** One of GGUF's types, such as `Q4_K`. */
  type: GgufQuantizedType
}

const optionKinds: OptionKinds<ImatrixAlgorithmOptions> = { type: required(aGgufType) }

/**
 * Weights of one of GGUF's types, for `quantizeCalibrated`: rounded as llama.cpp rounds them with an
 * importance matrix, so that an error counts by the mean square of what its column multiplies.
 *
 *     await quantizeCalibrated(model, { algorithm: imatrix({ type: 'Q4_K' }), data })
 *
 * @throws ShapeError if there is no such type
 */
export function imatrix(options: ImatrixAlgorithmOptions): CalibratedAlgorithm {
  checkOptions('imatrix', options, optionKinds)
  const { type } = options
  return {
    name: 'imatrix',
    settings: { type },
    options: { weights: ggufCodes(type), groupSize: null },
    quantizer: ggufQuantizer(type, { importance: true }),
  }
}
