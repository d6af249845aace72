import { check } from '../core/kinds.ts'
import { aModule, type Module } from '../nn/module.ts'
import { activationScales, QModule, QWeightModule } from '../nn/qmodule.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { keep } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'

/**
 * Replaces, in place, the quantized twins by the float layers whose weights their codes stand for. What
 * quantization lost stays lost.
 * @returns the paths of the modules replaced; of one that stands at several, the first
 * @throws DTypeError if a twin of your own does not say what its float layer is; the model is then as before
 */
export function dequantize(model: Module): string[] {
  check('dequantize', 'model', model, aModule)
  const twins = [...model.namedModules()].filter(
    (entry): entry is [string, QModule] => entry[1] instanceof QModule,
  )
  dequantizeTwins(
    model,
    twins.map(([, twin]) => twin),
  )
  return twins.map(([path]) => path)
}

/** The same of some twins of a model. @throws DTypeError as `dequantize` */
export function dequantizeTwins(model: Module, twins: readonly QModule[]): void {
  const floats = new Map<QTensor, Tensor>()
  const layers = new Map<QModule, Module>()
  try {
    for (const twin of twins)
      layers.set(twin, Object.assign(twin.floatLayer(floatWeight(twin, floats)), { training: twin.training }))
  } catch (error) {
    for (const float of floats.values()) float.dispose()
    throw error
  }
  model.replaceModules(layers)
  const held = model.parameters()
  for (const weight of floats.keys()) if (!held.has(weight)) weight.dispose()
  for (const twin of layers.keys()) {
    for (const name of activationScales) twin[name]?.dispose()
    if (twin instanceof QWeightModule) twin.statistics?.dispose()
  }
}

/** The float weight of a twin, made once for twins that share theirs; null of one without a weight. */
function floatWeight(twin: QModule, floats: Map<QTensor, Tensor>): Tensor | null {
  const { weight } = twin
  if (!(weight instanceof QTensor)) return weight
  if (!(twin instanceof QWeightModule)) return null
  const known = floats.get(weight) ?? keep(twin.floatWeight())
  floats.set(weight, known)
  return known
}
