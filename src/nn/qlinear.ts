import { linear } from '../qtensor/linear.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { fusedOutput } from './fusedLayers.ts'
import { Linear, pythonBool } from './linear.ts'
import { type ActivationQuantization, QWeightModule, type WeightQuantization } from './qmodule.ts'

/** The quantized twin of `Linear`. With int8 weights and int8 activations its product runs in integers. */
export class QLinear extends QWeightModule {
  static readonly typeName: string = 'QLinear'
  readonly inFeatures: number
  readonly outFeatures: number

  constructor(float: Linear, quantization: WeightQuantization, activations?: ActivationQuantization) {
    super(float, quantization, activations)
    this.inFeatures = float.inFeatures
    this.outFeatures = float.outFeatures
  }

  override get inputQuantized(): boolean {
    return true
  }

  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${pythonBool(this.bias !== null)}`
  }

  override floatLayer(weight: Tensor): Linear {
    const { inFeatures, outFeatures, bias } = this
    return Object.assign(new Linear(inFeatures, outFeatures, { bias: false }), { weight, bias })
  }

  override inputRows(x: Tensor): Tensor {
    return x.view([x.numel / this.inFeatures, this.inFeatures])
  }

  /** x [..., inFeatures] → [..., outFeatures] float32. */
  protected override qforward(x: Tensor): Tensor {
    return (
      fusedOutput(this, x) ??
      linear(
        x,
        this.weightInUse(),
        this.bias && cast(this.bias, 'float32'),
        this.computeDtype ?? 'float32',
        this.computeDtype === 'int8Outliers' ? this.outlierThreshold : undefined,
      )
    )
  }
}
