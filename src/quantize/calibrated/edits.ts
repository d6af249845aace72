import type { FloatDType } from '../../core/dtype.ts'
import type { Module, Parameter } from '../../nn/module.ts'
import { cast } from '../../tensor/ops/index.ts'
import { keep } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'

/**
 * Puts new tensors in the places of a model's. What the model had when this was made stays as it is, so that
 * it can be put back; what was put since is given back when another takes its place.
 */
export class Edits {
  private readonly model: Module
  private readonly had: ReadonlySet<Parameter>
  private readonly made = new Set<Tensor>()

  constructor(model: Module) {
    this.model = model
    this.had = model.parameters()
  }

  /** Values in the dtype of the tensor whose place they take; they live until they are disposed. */
  put<Name extends string>(module: Record<Name, Tensor>, name: Name, values: Tensor): void {
    const before: Tensor = module[name]
    const changed = keep(cast(values, before.dtype as FloatDType))
    changed.requiresGrad = before.requiresGrad
    Object.assign(module, { [name]: changed })
    this.made.add(changed)
    if (!this.had.has(before)) before.dispose()
  }

  /** Gives back what the model does not have any more. */
  release(): void {
    const there = this.model.parameters()
    for (const tensor of this.made) if (!there.has(tensor)) tensor.dispose()
    this.made.clear()
  }
}
