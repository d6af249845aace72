import { qint8 } from '../core/qtype.ts'
import { QActivation } from '../qtensor/activation.ts'
import { convolvesIntegers } from '../qtensor/convolution.ts'
import type { WeightFacts } from '../qtensor/parts.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { needsGrad } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type Convolution, ForwardConvolution, TransposedConvolution } from './convolution.ts'
import type { Module } from './module.ts'
import { type ActivationQuantization, QWeightModule, type WeightQuantization } from './qmodule.ts'

/**
 * The quantized twin of every convolution, `QConv2d` and so on, a scale for each row of the weight's first
 * dimension; it quantizes its output. Frozen, with an int8 weight and a border of zeros, it multiplies
 * integers: where its input is int8 codes already, and, with `computeDtype` int8, where its calibrated scale
 * makes them. Otherwise it computes on the floats that its weight's codes stand for.
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

  override kernelFor(weight: WeightFacts): string {
    const layer = this.computation()
    if (this.computeDtype === 'int8' && this.takesIntegers(layer) && convolvesIntegers(weight))
      return 'conv2dInt8'
    return `dequantize → ${layer instanceof TransposedConvolution ? 'conv2dInputGradient' : 'conv2d'}`
  }

  private takesIntegers(layer: Convolution): layer is ForwardConvolution {
    return this.activations === qint8 && layer instanceof ForwardConvolution && layer.zeros() !== null
  }

  protected override qforward(x: Tensor): Tensor {
    return this.inIntegers(x) ?? this.inFloats(x)
  }

  /** Undefined where it is to compute in floats. */
  private inIntegers(x: Tensor): Tensor | undefined {
    const [layer, { weight, input_scale, bias }] = [this.computation(), this]
    if (!this.takesIntegers(layer) || !(weight instanceof QTensor) || !convolvesIntegers(weight.facts))
      return undefined
    if (!(x instanceof QActivation) && (this.computeDtype !== 'int8' || !input_scale || needsGrad(x)))
      return undefined
    const codes = x instanceof QActivation ? x : QActivation.quantize(x, qint8, input_scale as Tensor)
    return codes.qtype === qint8
      ? layer.convolveCodes(codes, weight, bias && cast(bias, 'float32'))
      : undefined
  }

  private inFloats(x: Tensor): Tensor {
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
