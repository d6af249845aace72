import type { QType } from '../core/qtype.ts'
import { type ComputeDType, linear } from '../qtensor/linear.ts'
import type { Optimizer } from '../qtensor/optimizer.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { scope } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type Linear, pythonBool } from './linear.ts'
import { Module } from './module.ts'

/** How a module's weight is, or will be, quantized. */
export interface WeightQuantization {
  qtype: QType
  /** Columns that share a scale; null for one scale a row. */
  groupSize: number | null
  optimizer: Optimizer
}

/**
 * The quantized twin of `Linear`. Until it is frozen it keeps the float weight and quantizes it anew in every forward pass;
 * frozen, it holds codes and scales only.
 */
export class QLinear extends Module {
  readonly inFeatures: number
  readonly outFeatures: number
  readonly quantization: WeightQuantization
  weight: Tensor | QTensor
  bias: Tensor | null
  /** The precision of its matrix product; see `setComputeDtype`. */
  computeDtype: ComputeDType = 'float32'

  constructor(float: Linear, quantization: WeightQuantization) {
    super()
    this.inFeatures = float.inFeatures
    this.outFeatures = float.outFeatures
    this.quantization = quantization
    this.weight = float.weight
    this.bias = float.bias
  }

  get frozen(): boolean {
    return this.weight instanceof QTensor
  }

  /** The weight as it is, or would be, when frozen. */
  quantizedWeight(): QTensor {
    if (this.weight instanceof QTensor) return this.weight
    const { qtype, groupSize, optimizer } = this.quantization
    return QTensor.quantize(this.weight, qtype, groupSize, optimizer)
  }

  /** Replaces the float weight by its codes and scales. The float tensor is disposed unless another module holds it (`tied`). */
  freeze(tied = false): void {
    if (this.weight instanceof QTensor) return
    const float = this.weight
    this.weight = this.quantizedWeight().keep()
    if (!tied) float.dispose()
  }

  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${pythonBool(this.bias !== null)}`
  }

  /** x [..., inFeatures] float32 → [..., outFeatures] float32. */
  forward(x: Tensor): Tensor {
    return scope(() => linear(x, this.quantizedWeight(), this.bias && cast(this.bias, 'float32'), this.computeDtype))
  }
}

/** Sets the precision in which all quantized layers of a model compute; float layers compute in float32 always. */
export function setComputeDtype(model: Module, computeDtype: ComputeDType): void {
  for (const [, module] of model.namedModules()) if (module instanceof QLinear) module.computeDtype = computeDtype
}
