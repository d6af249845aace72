import { DTypeError } from '../core/errors.ts'
import { check } from '../core/kinds.ts'
import { aQType, qint8 } from '../core/qtype.ts'
import { quantizeOutliers } from '../qtensor/dynamic.ts'
import type { Quantizer } from '../qtensor/quantizer.ts'
import { chooseScales } from '../qtensor/rows.ts'
import { cast, slice } from '../tensor/ops/index.ts'

/**
 * bitsandbytes' int8, the weights of LLM.int8: a row's largest magnitude as float16 has it, and codes
 * rne(float16(w) · 127 / most). Products with them are those of LLM.int8.
 * Source: Dettmers et al., "LLM.int8()", 2022; bitsandbytes 0.50, `int8_vectorwise_quant`.
 */
export const llmInt8: Quantizer = {
  name: 'llmInt8',
  types: [qint8],
  computeDtype: 'int8Outliers',
  divisor: qint8.qmax,
  solve: (weight, { type }) => {
    check('llmInt8', 'type', type, aQType)
    if (type !== qint8) throw new DTypeError(`llmInt8: the type must be int8; received ${type.name}`)
    const [N, K] = weight.shape
    const halves = cast(cast(weight, 'float16'), 'float32')
    const { scale } = chooseScales(halves, 'absmax', { qmin: -1, qmax: 1 })
    // No weight is an outlier.
    const [codes] = quantizeOutliers(halves, 0)
    return {
      type,
      shape: weight.shape,
      dtype: 'float32',
      codes: slice(codes, 1, 0, K),
      block: { kind: 'group', size: K },
      scale: { values: scale.view([N, 1]), divisor: qint8.qmax },
    }
  },
}
