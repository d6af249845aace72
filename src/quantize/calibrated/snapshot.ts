import type { Module, Parameter } from '../../nn/module.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { Tensor } from '../../tensor/tensor.ts'

/** The tensors that the modules of a model had when it was made: what a run that fails puts back. */
export class Snapshot {
  private readonly model: Module
  /** Of each module: its tensors by name, null where a property held none. */
  private readonly held = new Map<Module, Map<string, Parameter | null>>()
  private readonly training = new Map<Module, boolean>()

  constructor(model: Module) {
    this.model = model
    for (const [, module] of model.namedModules()) {
      const tensors = new Map<string, Parameter | null>(module.ownTensors())
      for (const [name, value] of Object.entries(module)) if (value === null) tensors.set(name, null)
      this.held.set(module, tensors)
      this.training.set(module, module.training)
    }
  }

  /** Puts all tensors back, and disposes those that stood in their places; modules stand as they did. */
  restore(): void {
    const there = this.model.parameters()
    for (const [module, tensors] of this.held)
      for (const [name, tensor] of tensors)
        if (tensor) module.setParameter(name, tensor)
        else if (isParameter(Reflect.get(module, name)) && !module.nonPersistentNames.includes(name))
          Reflect.set(module, name, null)
    const back = this.all()
    for (const tensor of there) if (!back.has(tensor)) tensor.dispose()
  }

  /** Disposes what it holds and the model does not any more. */
  release(): void {
    const there = new Set([...this.model.namedTensors()].map(([, tensor]) => tensor))
    for (const tensor of this.all()) if (!there.has(tensor)) tensor.dispose()
  }

  /** Whether modules were in training mode is told to them again. */
  restoreTraining(): void {
    for (const [module, training] of this.training) module.training = training
  }

  private all(): Set<Parameter> {
    const tensors = new Set<Parameter>()
    for (const own of this.held.values()) for (const tensor of own.values()) if (tensor) tensors.add(tensor)
    return tensors
  }
}

function isParameter(value: unknown): value is Parameter {
  return value instanceof Tensor || value instanceof QTensor
}
