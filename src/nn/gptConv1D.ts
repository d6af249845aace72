import { aFloatDType, type FloatDType } from '../core/dtype.ts'
import { ShapeError } from '../core/errors.ts'
import { checkEach, wholeNumber } from '../core/kinds.ts'
import { checkOptions } from '../core/options.ts'
import type { Random } from '../core/random.ts'
import { numel, showShape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { linear } from '../qtensor/linear.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { add, cast, matmul, transpose } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { Module } from './module.ts'
import { type ActivationQuantization, QWeightModule, type WeightQuantization } from './qmodule.ts'

/**
 * y = x · weight + bias: GPT-2's linear layer, whose weight lies the other way round than that of `Linear`.
 * Source: transformers, pytorch_utils.py, `Conv1D`.
 */
export class Conv1D extends Module {
  static readonly typeName: string = 'Conv1D'
  /** Outputs and inputs, by the names that transformers gives them. */
  readonly nf: number
  readonly nx: number
  /** [nx, nf] */
  weight: Tensor
  /** [nf] */
  bias: Tensor

  constructor(nf: number, nx: number, options: { dtype?: FloatDType } = {}) {
    super()
    checkEach('Conv1D', { nf, nx }, wholeNumber(0))
    checkOptions('Conv1D', options, { dtype: aFloatDType })
    const dtype = options.dtype ?? 'float32'
    this.nf = nf
    this.nx = nx
    this.weight = Tensor.meta([nx, nf], dtype)
    this.bias = Tensor.meta([nf], dtype)
  }

  override extraRepr(): string {
    return `nf=${this.nf}, nx=${this.nx}`
  }

  /** weight ~ N(0, 0.02²), bias = 0. */
  override resetParameters(device: Device, random: Random): void {
    const { shape, dtype } = this.weight
    const values = Float32Array.from({ length: numel(shape) }, () => 0.02 * random.normal())
    this.weight = keep(Tensor.fromNumbers(device, values, shape, dtype))
    this.bias = keep(Tensor.fromNumbers(device, new Float32Array(this.nf), [this.nf], dtype))
  }

  /** x [..., nx] float32 → [..., nf] float32. */
  forward(x: Tensor): Tensor {
    return this.compute(x, this.weight, this.bias)
  }

  /**
   * x · weight + bias for these instead of the layer's own; a quantized weight is [nf, nx], so that outputs
   * have scales.
   */
  compute(x: Tensor, weight: Tensor | QTensor, bias: Tensor | null): Tensor {
    return scope(() => {
      const b = bias && cast(bias, 'float32')
      if (weight instanceof QTensor) return linear(x, weight, b)
      if (x.size(-1) !== weight.shape[0]) {
        throw new ShapeError(
          `conv1D: columns of x must equal rows of weight; x ${showShape(x.shape)}, weight ${showShape(weight.shape)}`,
        )
      }
      const y = matmul(x.view([x.numel / this.nx, this.nx]), cast(weight, 'float32')).view([
        ...x.shape.slice(0, -1),
        weight.shape[1],
      ])
      return b ? add(y, b) : y
    })
  }
}

/**
 * The quantized twin of `Conv1D`: quantized, its weight is [nf, nx], a scale for each output or group of
 * inputs.
 */
export class QConv1D extends QWeightModule {
  static readonly typeName: string = 'QConv1D'
  readonly nf: number
  readonly nx: number

  constructor(float: Conv1D, quantization: WeightQuantization, activations?: ActivationQuantization) {
    super(float, quantization, activations)
    this.nf = float.nf
    this.nx = float.nx
  }

  override get inputQuantized(): boolean {
    return true
  }

  override extraRepr(): string {
    return `nf=${this.nf}, nx=${this.nx}`
  }

  override inputRows(x: Tensor): Tensor {
    return x.view([x.numel / this.nx, this.nx])
  }

  /** [nf, nx] */
  override outputRows(weight: Tensor): Tensor {
    return transpose(weight, 0, 1)
  }

  /** [nx, nf] */
  override fromOutputRows(rows: Tensor): Tensor {
    return transpose(rows, 0, 1)
  }

  override floatLayer(weight: Tensor): Conv1D {
    return Object.assign(new Conv1D(this.nf, this.nx), { weight, bias: this.bias })
  }

  /** x [..., nx] → [..., nf] float32. */
  protected override qforward(x: Tensor): Tensor {
    return linear(
      x,
      this.weightInUse(),
      this.bias && cast(this.bias, 'float32'),
      this.computeDtype ?? 'float32',
      this.computeDtype === 'int8Outliers' ? this.outlierThreshold : undefined,
    )
  }
}
