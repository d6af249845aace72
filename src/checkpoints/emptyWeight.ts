import type { FloatDType } from '../core/dtype.ts'
import { numel } from '../core/shape.ts'
import type { WeightKind } from '../formats/schemes/scheme.ts'
import type { QWeightModule } from '../nn/qmodule.ts'
import { weightShape } from '../nn/twins.ts'
import { blocksShape, type WeightFacts } from '../qtensor/parts.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { type Quantizer, weightSpec } from '../qtensor/quantizer.ts'

/**
 * What a twin's weight will be when frozen, without values. A codebook's scales count as float32, the largest
 * that they can be.
 * @param float dtype of the weight that is quantized
 */
export function emptyWeight(twin: QWeightModule, float: FloatDType): QTensor {
  const { qtype, scaleDtype, zeroPoints, quantizer } = twin.quantization
  const shape = weightShape(twin, twin.weight)
  const dtype = quantizer.scales
    ? 'bfloat16'
    : qtype.codebook || scaleDtype || quantizer.divisor
      ? 'float32'
      : float
  const usual =
    zeroPoints || quantizer.zeroPoint !== undefined ? 'zeroPoint' : qtype.unsigned ? 'shift' : null
  return QTensor.meta(weightSpec(twin.quantization, shape), shape, dtype, quantizer.offset ?? usual)
}

/** What schemes ask of such a weight. */
export function emptyKind(twin: QWeightModule, { facts, dtype }: QTensor): WeightKind {
  const { qtype, symmetric, scaleDtype, quantizer } = twin.quantization
  const { divisor = null } = quantizer
  const middle = qtype.unsigned ? 2 ** (qtype.bits - 1) : 0
  const zeroPoint = quantizer.zeroPoint ?? (facts.offset === 'zeroPoint' && symmetric ? middle : null)
  const scale = {
    scaleDtype: scaleDtype ?? dtype,
    divisor,
    nested: null,
    ...eightBitScales(quantizer, facts),
  }
  return { ...facts, dtype, reordered: false, ...scale, zeroPoint }
}

/** What scales of 8 bits are, where the quantizer chooses such. */
function eightBitScales({ scales }: Quantizer, { block, shape }: WeightFacts) {
  if (scales === undefined) return {}
  if (scales === 'exponents') return { scaleDtype: 'float8_e8m0fnu' as const }
  const blockSize = numel(blocksShape(block, shape))
  const codes = { codes: 'float8_e4m3fn', divides: true, codebook: false, values: 'float32' } as const
  const nested = { blockSize, offset: 0, ...codes }
  return { scaleDtype: null, nested }
}
