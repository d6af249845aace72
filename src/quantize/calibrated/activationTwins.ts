import type { Module } from '../../nn/module.ts'
import { QWeightModule } from '../../nn/qmodule.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { calibrate } from '../calibrate.ts'
import { type PlannedTwin, planTwins, type QuantizeOptions } from '../quantize.ts'
import type { CalibratedLayer } from './algorithm.ts'

/**
 * The twins of a model whose activations are to be quantized, too. While weights are solved activations stay
 * float; then these take the codes over, and the same samples choose their scales.
 */
export class ActivationTwins {
  private readonly model: Module
  private readonly planned: ReadonlyMap<string, PlannedTwin>

  constructor(model: Module, options: QuantizeOptions) {
    this.model = model
    this.planned = options.activations === undefined ? new Map() : planTwins(model, options)
  }

  /** @param pass passes the samples through the model */
  async install(layers: ReadonlyMap<string, CalibratedLayer>, pass: () => Promise<void>): Promise<void> {
    if (this.planned.size === 0) return
    const twins = new Map<Module, Module>()
    for (const [path, { layer, twin }] of this.planned) {
      const from = layers.get(path)?.twin ?? layer
      // What an algorithm put there since.
      for (const name of ['weight', 'bias', 'training']) Reflect.set(twin, name, Reflect.get(from, name))
      twins.set(from, twin)
    }
    this.model.replaceModules(twins)
    await calibrate(this.model, pass)
  }

  /** The float layers stand in their places again. */
  remove(): void {
    this.model.replaceModules(new Map([...this.planned.values()].map(({ layer, twin }) => [twin, layer])))
    for (const { twin } of this.planned.values())
      if (twin instanceof QWeightModule && twin.weight instanceof QTensor) twin.weight.dispose()
  }
}
