import type { FloatDType } from '../../core/dtype.ts'
import { linear } from '../../qtensor/linear.ts'
import { isNested, matrixShape } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import type { Statistics } from '../../qtensor/quantizer.ts'
import { relativeDistance } from '../../qtensor/relativeDistance.ts'
import { cast } from '../../tensor/ops/elementwise.ts'
import { scope } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import type { CalibratedLayer } from './algorithm.ts'

/** The codes of a layer as its twin's quantizer chooses them; the caller's. */
export function solved(
  { float, twin }: CalibratedLayer,
  statistics: Statistics | null,
  scaleDtype = twin.quantization.scaleDtype,
): QTensor {
  const { qtype, groupSize, quantizer, ...others } = twin.quantization
  const scales = { ...others, scaleDtype }
  return scope(() =>
    QTensor.quantize(twin.outputRows(float.weight), qtype, groupSize, quantizer, statistics, scales),
  ).keep()
}

/** The dtype of a layer's scales until all layers are solved. */
export function scaleDtypeOfRun({ twin }: CalibratedLayer): FloatDType | undefined {
  const { scaleDtype, quantizer } = twin.quantization
  return quantizer.roundsScalesLast && scaleDtype === 'float16' ? 'float32' : scaleDtype
}

/** Rounds the scales and shifts of a solved layer to what they were to be. */
export function roundScales(layer: CalibratedLayer): void {
  const { twin } = layer
  const { weight, quantization } = twin
  const { scaleDtype } = quantization
  if (!scaleDtype || scaleDtypeOfRun(layer) === scaleDtype || !(weight instanceof QTensor)) return
  const rounded = <Values extends object>(values: Values): Values =>
    'values' in values && !isNested(values)
      ? { ...values, values: cast(values.values as Tensor, scaleDtype) }
      : values
  twin.weight = scope(() => {
    const parts = weight.parts()
    const { scale, offset } = parts
    return QTensor.fromParts({
      ...parts,
      scale: rounded(scale),
      offset: offset?.kind === 'shift' ? rounded(offset) : offset,
    })
  }).keep()
  weight.dispose()
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
