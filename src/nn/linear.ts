import { aFloatDType, type FloatDType } from '../core/dtype.ts'
import { aBoolean, checkEach, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import type { Random } from '../core/random.ts'
import type { Device } from '../devices/device.ts'
import { linear } from '../qtensor/linear.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { fusedOutput } from './fusedLayers.ts'
import { Module } from './module.ts'
import { resetLinear } from './uniform.ts'

/** What a linear layer has. */
export interface LinearOptions {
  /** Default true. */
  bias?: boolean
  /** Default float32. */
  dtype?: FloatDType
}

const optionKinds: OptionKinds<LinearOptions> = { bias: aBoolean, dtype: aFloatDType }

/** y = x · weightᵀ + bias. */
export class Linear extends Module {
  static readonly typeName: string = 'Linear'
  readonly inFeatures: number
  readonly outFeatures: number
  /** [outFeatures, inFeatures] */
  weight: Tensor
  /** [outFeatures], or null */
  bias: Tensor | null

  constructor(inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    super()
    checkEach('Linear', { inFeatures, outFeatures }, wholeNumber(0))
    checkOptions('Linear', options, optionKinds)
    const dtype = options.dtype ?? 'float32'
    this.inFeatures = inFeatures
    this.outFeatures = outFeatures
    this.weight = Tensor.meta([outFeatures, inFeatures], dtype)
    this.bias = (options.bias ?? true) ? Tensor.meta([outFeatures], dtype) : null
  }

  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${pythonBool(this.bias !== null)}`
  }

  override resetParameters(device: Device, random: Random): void {
    resetLinear(this, this.inFeatures, device, random)
  }

  /** x [..., inFeatures] float32 → [..., outFeatures] float32. */
  forward(x: Tensor): Tensor {
    return fusedOutput(this, x) ?? this.compute(x, this.weight, this.bias)
  }

  /** x · weightᵀ + bias for these instead of the layer's own. */
  compute(x: Tensor, weight: Tensor | QTensor, bias: Tensor | null): Tensor {
    return scope(() => linear(x, weight, bias && cast(bias, 'float32')))
  }
}

/** `True` or `False`, as PyTorch prints them. */
export function pythonBool(value: boolean): string {
  return value ? 'True' : 'False'
}
