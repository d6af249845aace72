import type { FloatDType } from '../core/dtype.ts'
import type { QWeightModule } from '../nn/qmodule.ts'
import { weightShape } from '../nn/twins.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { groupSpec } from '../qtensor/quantizer.ts'

/**
 * What a twin's weight will be when frozen, without values. A codebook's scales count as float32, the largest that
 * they can be.
 * @param float dtype of the weight that is quantized
 */
export function emptyWeight(twin: QWeightModule, float: FloatDType): QTensor {
  const { qtype, groupSize } = twin.quantization
  const shape = weightShape(twin, twin.weight)
  const dtype = qtype.codebook ? 'float32' : float
  return QTensor.meta(groupSpec(qtype, groupSize, shape), shape, dtype, qtype.unsigned ? 'shift' : null)
}
