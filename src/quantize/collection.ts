import type { Module } from '../nn/module.ts'
import type { Observation } from '../nn/observe.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import { Statistics } from '../qtensor/quantizer.ts'
import { scope } from '../tensor/scope.ts'
import { noGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'

/** What the quantizers of a model's layers collect while batches pass through it. */
export class Collection {
  private readonly collected = new Map<QWeightModule, Statistics>()
  private readonly observations: Observation[] = []

  constructor(model: Module) {
    for (const [, module] of model.namedModules())
      if (module instanceof QWeightModule && module.collects)
        this.observations.push(module.observe({ input: ([x]) => this.add(module, x) }))
  }

  /** Layers whose quantizer collects. */
  get layers(): number {
    return this.observations.length
  }

  /** Layers that a batch reached. */
  get reached(): number {
    return this.collected.size
  }

  private add(module: QWeightModule, x: unknown): void {
    const { quantizer } = module.quantization
    if (!(x instanceof Tensor) || x.numel === 0 || !module.inputRows) return
    const statistics = this.collected.get(module) ?? new Statistics()
    this.collected.set(module, statistics)
    noGrad(() => scope(() => quantizer.collects?.(module.inputRows?.(x) ?? x, statistics)))
  }

  /** Gives each layer what was collected of it, in place of what it had. */
  finish(): void {
    for (const [module, statistics] of this.collected) {
      module.statistics?.dispose()
      module.statistics = statistics
    }
    this.collected.clear()
  }

  /** The model forgets the collection; what was not handed over is given back. */
  detach(): void {
    for (const end of this.observations) end()
    for (const statistics of this.collected.values()) statistics.dispose()
  }
}
