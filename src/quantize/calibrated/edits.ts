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
  private readonly had: ReadonlySet<Parameter>

  constructor(model: Module) {
    this.had = model.parameters()
  }

  /** Values in the dtype of the tensor whose place they take; they live until they are disposed. */
  put<Name extends string>(module: Record<Name, Tensor>, name: Name, values: Tensor): void {
    const before: Tensor = module[name]
    const changed = keep(cast(values, before.dtype as FloatDType))
    changed.requiresGrad = before.requiresGrad
    Object.assign(module, { [name]: changed })
    if (!this.had.has(before)) before.dispose()
  }
}
