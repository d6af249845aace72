import type { FloatDType } from '../core/dtype.ts'
import { cast, layerNorm } from '../tensor/ops/index.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { Module } from './module.ts'

/** y = (x − mean) / √(variance + ε) · weight + bias over the last dimension. */
export class LayerNorm extends Module {
  readonly epsilon: number
  /** [features] */
  weight: Tensor
  /** [features] */
  bias: Tensor

  constructor(features: number, epsilon = 1e-5, options: { dtype?: FloatDType } = {}) {
    super()
    this.epsilon = epsilon
    this.weight = Tensor.meta([features], options.dtype ?? 'float32')
    this.bias = Tensor.meta([features], options.dtype ?? 'float32')
  }

  override extraRepr(): string {
    return `(${this.weight.shape[0]},), eps=${this.epsilon}`
  }

  /** x [..., features] float32 → the same shape. */
  forward(x: Tensor): Tensor {
    return scope(() => layerNorm(x, cast(this.weight, 'float32'), cast(this.bias, 'float32'), this.epsilon))
  }
}
