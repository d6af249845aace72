import type { QType } from '../core/qtype.ts'
import type { Module } from '../nn/module.ts'
import type { ActivationQuantization, QModule } from '../nn/qmodule.ts'
import { findTwin, weightColumns } from '../nn/twins.ts'
import { quantoGroupSize } from '../qtensor/groupSize.ts'
import { Tensor } from '../tensor/tensor.ts'
import { defaultQuantizer } from './quantizers.ts'

/**
 * The twin of a layer as an entry of a quantization map describes it, its groups by quanto's rule; undefined
 * where there is none. A layer without a weight has one where its activations are quantized.
 */
export function quantizedTwin(
  layer: Module,
  weights: QType | undefined,
  activations: ActivationQuantization,
): QModule | undefined {
  const weight: unknown = Reflect.get(layer, 'weight')
  const columns = weight instanceof Tensor ? weightColumns(layer, weight) : 0
  const groupSize = weights ? quantoGroupSize(weights, columns) : null
  const quantization = weights ? { qtype: weights, groupSize, quantizer: defaultQuantizer(weights) } : null
  return findTwin(layer)?.twin.make(layer, { weights: quantization, activations }) ?? undefined
}
