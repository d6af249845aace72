import { ShapeError } from '../core/errors.ts'
import { check, checkEach, wholeNumber } from '../core/kinds.ts'
import { flatten } from '../tensor/ops/index.ts'
import { scope } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { aModule, Module } from './module.ts'

/** A layer from one tensor to one tensor. */
export interface Layer extends Module {
  forward(x: Tensor): Tensor
}

/** y = layerₙ(… layer₁(layer₀(x))). Its children are named 0, 1, …, as in PyTorch. */
export class Sequential extends Module {
  [index: number]: Layer

  constructor(...layers: Layer[]) {
    super()
    for (const [index, layer] of layers.entries()) {
      check('Sequential', `layer ${index}`, layer, aModule)
      this[index] = layer
    }
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      let y = x
      for (const [name, layer] of this.children()) {
        if (!isLayer(layer))
          throw new ShapeError(`Sequential: child ${name} must have forward(x); received ${layer.typeName}`)
        y = layer.forward(y)
      }
      return y
    })
  }
}

function isLayer(module: Module): module is Layer {
  return 'forward' in module && typeof module.forward === 'function'
}

/** y = x. */
export class Identity extends Module {
  forward(x: Tensor): Tensor {
    return x.view(x.shape)
  }
}

/** x with axes `startDim` … `endDim` joined into one. */
export class Flatten extends Module {
  readonly startDim: number
  readonly endDim: number

  constructor(startDim = 1, endDim = -1) {
    super()
    checkEach('Flatten', { startDim, endDim }, wholeNumber(-Infinity))
    this.startDim = startDim
    this.endDim = endDim
  }

  override extraRepr(): string {
    return `start_dim=${this.startDim}, end_dim=${this.endDim}`
  }

  forward(x: Tensor): Tensor {
    return flatten(x, this.startDim, this.endDim)
  }
}
