import { aFunction, aSignal, check, either } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { aModule, type Module } from '../nn/module.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import { aQTensor, type QTensor } from '../qtensor/qtensor.ts'
import { relativeDistance } from '../qtensor/relativeDistance.ts'
import { aTensor, Tensor } from '../tensor/tensor.ts'

const aWeight = either('be a tensor, quantized or not', aTensor, aQTensor)

/**
 * ‖W − Ŵ‖₂ / ‖W‖₂: how far a quantized weight lies from the float one, 0 for none.
 * @param original,quantized of one shape; either may be quantized
 */
export async function relativeError(
  original: Tensor | QTensor,
  quantized: Tensor | QTensor,
): Promise<number> {
  check('relativeError', 'original', original, aWeight)
  check('relativeError', 'quantized', quantized, aWeight)
  return relativeDistance(() => [original.dequantize(), quantized.dequantize()])
}

/**
 * The relative error of a layer's weight as it is, or would be, when frozen.
 * @param float as the float layer has it
 */
export function layerError(layer: QWeightModule, float: Tensor): Promise<number> {
  return relativeDistance(() => [layer.outputRows(float), layer.quantizedWeight().dequantize()])
}

export interface WeightErrorOptions {
  /** Ends the measurement between two modules. */
  signal?: AbortSignal
  /** Called after each module. */
  onProgress?: (modules: number, total: number) => void
}

const optionKinds: OptionKinds<WeightErrorOptions> = { signal: aSignal, onProgress: aFunction }

/**
 * The relative error of every quantized module of a model that is not frozen yet, by path.
 * @throws the signal's reason when aborted
 */
export async function weightErrors(
  model: Module,
  options: WeightErrorOptions = {},
): Promise<Map<string, number>> {
  check('weightErrors', 'model', model, aModule)
  checkOptions('weightErrors', options, optionKinds)
  const { signal, onProgress } = options
  const errors = new Map<string, number>()
  const modules = [...model.namedModules()].filter(
    (entry): entry is [string, QWeightModule] => entry[1] instanceof QWeightModule,
  )
  for (const [path, module] of modules) {
    if (!(module.weight instanceof Tensor)) continue
    signal?.throwIfAborted()
    errors.set(path, await layerError(module, module.weight))
    onProgress?.(errors.size, modules.length)
  }
  return errors
}
