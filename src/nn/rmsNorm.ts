import { aFloatDType, type FloatDType } from '../core/dtype.ts'
import { aBoolean, atLeast, check, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import type { Device } from '../devices/device.ts'
import { add, cast } from '../tensor/ops/elementwise.ts'
import { rmsNorm } from '../tensor/ops/normalize.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { Module } from './module.ts'

/** Options of RMS normalization. */
export interface RMSNormOptions {
  dtype?: FloatDType
  /** Whether rows are multiplied by 1 + weight, as in Gemma; default false. */
  unitOffset?: boolean
}

const optionKinds: OptionKinds<RMSNormOptions> = { dtype: aFloatDType, unitOffset: aBoolean }

/** y = x / √(mean(x²) + ε) · weight, or · (1 + weight). */
export class RMSNorm extends Module {
  static readonly typeName: string = 'RMSNorm'
  readonly eps: number
  readonly unitOffset: boolean
  /** [size] */
  weight: Tensor

  constructor(size: number, eps: number, options: RMSNormOptions = {}) {
    super()
    check('RMSNorm', 'size', size, wholeNumber(0))
    check('RMSNorm', 'eps', eps, atLeast(0))
    checkOptions('RMSNorm', options, optionKinds)
    this.eps = eps
    this.unitOffset = options.unitOffset ?? false
    this.weight = Tensor.meta([size], options.dtype ?? 'float32')
  }

  override extraRepr(): string {
    return `(${this.weight.shape[0]},), eps=${pythonFloat(this.eps)}, elementwise_affine=True`
  }

  /** Rows are multiplied by 1. */
  override resetParameters(device: Device): void {
    this.weight = constant(device, this.weight, this.unitOffset ? 0 : 1)
  }

  /** x [..., size] float32 → [..., size] float32. */
  forward(x: Tensor): Tensor {
    const { weight, eps, unitOffset } = this
    if (!unitOffset) return rmsNorm(x, weight, eps)
    return scope(() => rmsNorm(x, add(cast(weight, 'float32'), 1), eps))
  }
}

/** A tensor of the shape and dtype of `parameter` with one value everywhere, which takes its place. */
export function constant(device: Device, parameter: Tensor, value: number): Tensor {
  const values = new Float32Array(parameter.numel).fill(value)
  const filled = keep(Tensor.fromNumbers(device, values, parameter.shape, parameter.dtype))
  filled.requiresGrad = parameter.requiresGrad
  parameter.dispose()
  return filled
}

/** As Python prints a float: `1e-05`, `0.0001`, `1.0`. */
export function pythonFloat(value: number): string {
  const [digits, exponent] = value.toExponential().split('e')
  const power = Number(exponent)
  if (power < -4 || power >= 16)
    return `${digits}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`
  return Number.isInteger(value) ? `${value}.0` : String(value)
}
