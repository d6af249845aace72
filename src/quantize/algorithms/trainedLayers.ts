import type { Module } from '../../nn/module.ts'
import type { QWeightModule } from '../../nn/qmodule.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { TrainedLayer } from './trainedLayer.ts'

/** A layer of a model whose quantized weight is to train. */
export interface LayerToTrain {
  /** What stands in the model now. */
  readonly place: Module
  readonly twin: QWeightModule
  /** What it begins with. */
  readonly weight: QTensor
  /** The float weight whose rounding trains, too; null: codes stay. */
  readonly float: Tensor | null
}

/**
 * Runs `body` with trained layers in the place of others, in their order. Nothing else of the model gets a
 * gradient, and the others are back when it has ended.
 */
export async function withTrainedLayers<R>(
  model: Module,
  layers: readonly LayerToTrain[],
  body: (trained: readonly TrainedLayer[]) => Promise<R>,
): Promise<R> {
  const fixed = [...model.parameters()].filter(
    (one): one is Tensor => one instanceof Tensor && one.requiresGrad,
  )
  const trained = new Map<Module, TrainedLayer>()
  try {
    for (const tensor of fixed) tensor.requiresGrad = false
    for (const { place, twin, weight, float } of layers)
      trained.set(place, new TrainedLayer(twin, weight, float))
    model.replaceModules(trained)
    return await body([...trained.values()])
  } finally {
    model.replaceModules(new Map([...trained].map(([place, layer]) => [layer, place])))
    for (const layer of trained.values()) layer.dispose()
    for (const tensor of fixed) tensor.requiresGrad = true
  }
}
