import type { FloatDType } from '../core/dtype.ts'
import type { WeightKind } from '../formats/schemes/scheme.ts'
import type { QWeightModule } from '../nn/qmodule.ts'
import { weightShape } from '../nn/twins.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { weightSpec } from '../qtensor/quantizer.ts'

/**
 * What a twin's weight will be when frozen, without values. A codebook's scales count as float32, the largest that
 * they can be.
 * @param float dtype of the weight that is quantized
 */
export function emptyWeight(twin: QWeightModule, float: FloatDType): QTensor {
  const { qtype, scaleDtype, zeroPoints, quantizer } = twin.quantization
  const shape = weightShape(twin, twin.weight)
  const dtype = qtype.codebook || scaleDtype || quantizer.divisor ? 'float32' : float
  const offset = zeroPoints ? 'zeroPoint' : qtype.unsigned ? 'shift' : null
  return QTensor.meta(weightSpec(twin.quantization, shape), shape, dtype, offset)
}

/** What schemes ask of such a weight. */
export function emptyKind(twin: QWeightModule, { facts, dtype }: QTensor): WeightKind {
  const { qtype, symmetric, scaleDtype, quantizer } = twin.quantization
  const { divisor = null } = quantizer
  const middle = qtype.unsigned ? 2 ** (qtype.bits - 1) : 0
  const zeroPoint = facts.offset === 'zeroPoint' && symmetric ? middle : null
  const scale = { scaleDtype: scaleDtype ?? dtype, divisor, nested: null }
  return { ...facts, dtype, reordered: false, ...scale, zeroPoint }
}
