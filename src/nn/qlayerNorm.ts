import { check } from '../core/kinds.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { LayerNorm } from './normalization.ts'
import { type ActivationQuantization, aLayer, QModule } from './qmodule.ts'

/** The quantized twin of `LayerNorm`: its output is quantized, its weight never. */
export class QLayerNorm extends QModule {
  static readonly typeName: string = 'QLayerNorm'
  readonly size: number
  readonly eps: number
  weight: Tensor | null
  bias: Tensor | null

  constructor(float: LayerNorm, activations: ActivationQuantization) {
    super(activations)
    check('QLayerNorm', 'float', float, aLayer)
    this.size = float.size
    this.eps = float.eps
    this.weight = float.weight
    this.bias = float.bias
  }

  override extraRepr(): string {
    return LayerNorm.prototype.extraRepr.call(this)
  }

  override floatLayer(): LayerNorm {
    const { size, eps, weight, bias } = this
    return Object.assign(new LayerNorm(size, { eps, elementwiseAffine: false }), { weight, bias })
  }

  /** x [..., size] → [..., size] float32. */
  protected override qforward(x: Tensor): Tensor {
    return LayerNorm.prototype.forward.call(this, x)
  }
}
