import { aFloatDType, type FloatDType } from '../../core/dtype.ts'
import { aBoolean, orNull } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { qint8 } from '../../core/qtype.ts'
import type { CalibratedAlgorithm } from '../calibrated/algorithm.ts'
import { type GptqQuantizerOptions, gptqKinds, gptqQuantizer } from '../gptqQuantizer.ts'
import { type IntegerWeights, integerKinds, integerWeights } from './integerWeights.ts'

/** How `gptq` quantizes, in auto_gptq's and GPTQModel's words; a `groupSize` of −1 is null, rows. */
export interface GptqOptions extends IntegerWeights, GptqQuantizerOptions {
  /** Ranges from −m to m, whose zero point is the middle of the codes. Default true. */
  symmetric?: boolean
  /**
   * The dtype of scales; null: the weight's. Default float16, which GPTQ's files hold: layers are solved with
   * float32's, as GPTQModel does, and these are rounded once all are.
   */
  scaleDtype?: FloatDType | null
  /**
   * Solves the layers of a block one group after the other, each from what those before give once they are
   * quantized; a pass more for each. Default true.
   */
  trueSequential?: boolean
}

/** What the options may be. */
export const gptqOptionKinds: OptionKinds<GptqOptions> = {
  ...integerKinds,
  groupSize: {
    must: 'be a whole number from 1 up, or null or -1 for rows',
    holds: (value) => value === -1 || integerKinds.groupSize.holds(value),
  },
  scaleDtype: orNull(aFloatDType),
  trueSequential: aBoolean,
  ...gptqKinds,
}

/**
 * GPTQ, for `quantizeCalibrated`: integer codes with integer zero points, as GPTQ's files hold them.
 *
 *     await quantizeCalibrated(model, { algorithm: gptq({ bits: 4, groupSize: 32 }), data })
 *
 * Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
 * Transformers", 2023. See `gptqQuantizer`.
 */
export function gptq(options: GptqOptions = {}): CalibratedAlgorithm {
  checkOptions('gptq', options, gptqOptionKinds)
  const { actOrder, dampPercent, blockSize, scaleSearch, trueSequential = true } = options
  return {
    name: 'gptq',
    settings: { ...options },
    options: storedIntegers(options),
    quantizer: gptqQuantizer({ actOrder, dampPercent, blockSize, scaleSearch }),
    trueSequential,
  }
}

/** What `quantize` is told: symmetric codes of 8 bits lie around 0. */
export function storedIntegers(options: GptqOptions): NonNullable<CalibratedAlgorithm['options']> {
  const { bits = 4, groupSize = 128, symmetric = true, scaleDtype = 'float16' } = options
  return {
    ...integerWeights({ bits, groupSize: groupSize === -1 ? null : groupSize, symmetric }),
    ...(bits === 8 && symmetric && { weights: qint8 }),
    ...(scaleDtype && { scaleDtype }),
  }
}
