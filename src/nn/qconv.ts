import { cast } from '../tensor/ops/elementwise.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type Convolution, type ForwardConvolution, TransposedConvolution } from './convolution.ts'
import type { Module } from './module.ts'
import { type ActivationQuantization, QWeightModule, type WeightQuantization } from './qmodule.ts'

/**
 * The quantized twin of every convolution, `QConv2d` and so on: it computes on the floats that its weight's
 * codes stand for, a scale for each row of the weight's first dimension, and quantizes its output.
 */
export class QConv extends QWeightModule {
  private readonly computation: () => Convolution

  constructor(float: Convolution, quantization: WeightQuantization, activations?: ActivationQuantization) {
    super(float, quantization, activations)
    // A function, so that the float layer is no child.
    this.computation = () => float
  }

  override get typeName(): string {
    return `Q${this.computation().typeName}`
  }

  override extraRepr(): string {
    return this.computation().extraRepr()
  }

  override floatLayer(weight: Tensor): Module {
    const float = this.computation()
    return Object.assign(Object.create(Object.getPrototypeOf(float)), float, { weight, bias: this.bias })
  }

  override kernelFor(): string {
    const transposed = this.computation() instanceof TransposedConvolution
    return `dequantize → ${transposed ? 'conv2dInputGradient' : 'conv2d'}`
  }

  protected override qforward(x: Tensor): Tensor {
    const weight = cast(this.dequantizedWeight(), 'float32')
    return this.computation().compute(x, weight, this.bias && cast(this.bias, 'float32'))
  }
}

/** The twin of a convolution that multiplies rows, its windows, by one matrix: it has no groups. */
export class QWindowConv extends QConv {
  private readonly windows: (x: Tensor) => Tensor

  constructor(
    float: ForwardConvolution,
    quantization: WeightQuantization,
    activations?: ActivationQuantization,
  ) {
    super(float, quantization, activations)
    this.windows = (x) => float.windows(x)
  }

  override inputRows(x: Tensor): Tensor {
    return this.windows(x)
  }
}
