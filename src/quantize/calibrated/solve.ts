import { linear } from '../../qtensor/linear.ts'
import { matrixShape } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import type { Statistics } from '../../qtensor/quantizer.ts'
import { relativeDistance } from '../../qtensor/relativeDistance.ts'
import { cast } from '../../tensor/ops/elementwise.ts'
import { scope } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import type { CalibratedLayer } from './algorithm.ts'

/** The codes of a layer as its twin's quantizer chooses them; the caller's. */
export function solved({ float, twin }: CalibratedLayer, statistics: Statistics | null): QTensor {
  const { qtype, groupSize, quantizer, ...scales } = twin.quantization
  return scope(() =>
    QTensor.quantize(twin.outputRows(float.weight), qtype, groupSize, quantizer, statistics, scales),
  ).keep()
}

/** The weight as a matrix [N, K] of which every row makes an output, float32; of the running scope. */
export function weightRows({ float, twin }: CalibratedLayer): Tensor {
  const rows = twin.outputRows(float.weight)
  return cast(rows.view(matrixShape(rows.shape)), 'float32')
}

/**
 * ‖x · wᵀ − x · ŵᵀ‖₂ / ‖x · wᵀ‖₂: what quantization costs the output.
 * @param x makes rows [M, K], in a scope of its own
 * @param w makes the float weight [N, K]
 */
export function outputError(x: () => Tensor, w: () => Tensor, quantized: QTensor): Promise<number> {
  return relativeDistance(() => {
    const rows = x()
    const floats = cast(quantized.dequantize().view(matrixShape(quantized.shape)), 'float32')
    return [linear(rows, w()), linear(rows, floats)]
  })
}
