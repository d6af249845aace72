import { reduce } from '../tensor/ops/reduce.ts'
import { keep, scope } from '../tensor/scope.ts'
import { noGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { Module } from './module.ts'
import type { Observation } from './observe.ts'

/**
 * Notes the largest magnitude of every module's output and of every gradient, to tell which was first not
 * finite.
 */
export class Watch {
  private readonly model: Module
  private readonly seen: { what: string; largest: Tensor }[] = []
  private readonly observations: Observation[] = []

  /** From now on `forward` of every module in the model is watched, until `end`. */
  constructor(model: Module) {
    this.model = model
    for (const [path, module] of model.namedModules()) {
      const what = `the output of ${path === '' ? 'the model' : path} (${module.typeName})`
      this.observations.push(module.observe((y) => this.note(what, y)))
    }
  }

  private note(what: string, x: unknown): void {
    if (!(x instanceof Tensor) || x.dtype !== 'float32' || x.numel === 0) return
    const cols = x.size(-1) ?? 1
    const largest = noGrad(() =>
      scope(() => reduce('absmax', reduce('absmax', x.dequantize().view([x.numel / cols, cols])))),
    )
    this.seen.push({ what, largest: keep(largest) })
  }

  /** Notes the gradients that the model's parameters have now. */
  noteGradients(): void {
    for (const [path, parameter] of this.model.namedParameters()) {
      if (parameter instanceof Tensor && parameter.grad) this.note(`the gradient of ${path}`, parameter.grad)
    }
  }

  /** Resolves to the first that was not finite since the last call, and what it was; null if all were. */
  async firstNotFinite(): Promise<string | null> {
    const seen = this.seen.splice(0)
    let first: string | null = null
    for (const { what, largest } of seen) {
      if (first === null) {
        const [value] = await largest.toNumbers()
        if (!Number.isFinite(value)) first = `${what} is ${value}`
      }
      largest.dispose()
    }
    return first
  }

  /** The modules are watched no more. */
  end(): void {
    for (const end of this.observations) end()
    for (const { largest } of this.seen.splice(0)) largest.dispose()
  }
}
