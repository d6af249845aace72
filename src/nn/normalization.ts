import { aFloatDType, type FloatDType } from '../core/dtype.ts'
import { ShapeError } from '../core/errors.ts'
import { aBoolean, atLeast, check, checkEach, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import type { Device } from '../devices/device.ts'
import { cast, groupNorm, layerNorm } from '../tensor/ops/index.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { pythonBool } from './linear.ts'
import { Module } from './module.ts'
import { constant, pythonFloat } from './rmsNorm.ts'

/** Options of layer normalization, as in PyTorch. */
export interface LayerNormOptions {
  eps?: number
  /** Whether it has a weight; without one it has no bias either. */
  elementwiseAffine?: boolean
  bias?: boolean
  dtype?: FloatDType
}

const optionKinds: OptionKinds<LayerNormOptions> = {
  eps: atLeast(0),
  elementwiseAffine: aBoolean,
  bias: aBoolean,
  dtype: aFloatDType,
}

/** y = (x − mean) / √(variance + ε) · weight + bias over the last dimension. */
export class LayerNorm extends Module {
  static readonly typeName: string = 'LayerNorm'
  readonly size: number
  readonly eps: number
  /** [size], or null */
  weight: Tensor | null
  /** [size], or null */
  bias: Tensor | null

  constructor(size: number, options: LayerNormOptions = {}) {
    super()
    check('LayerNorm', 'size', size, wholeNumber(0))
    checkOptions('LayerNorm', options, optionKinds)
    const { eps = 1e-5, elementwiseAffine = true, bias = true, dtype = 'float32' } = options
    this.size = size
    this.eps = eps
    this.weight = elementwiseAffine ? Tensor.meta([size], dtype) : null
    this.bias = elementwiseAffine && bias ? Tensor.meta([size], dtype) : null
  }

  override extraRepr(): string {
    return `(${this.size},), eps=${pythonFloat(this.eps)}, elementwise_affine=${pythonBool(this.weight !== null)}`
  }

  /** Weights of 1, biases of 0. */
  override resetParameters(device: Device): void {
    this.weight &&= constant(device, this.weight, 1)
    this.bias &&= constant(device, this.bias, 0)
  }

  /** x [..., size] float32 → [..., size] float32. */
  forward(x: Tensor): Tensor {
    return scope(() => {
      const [weight, bias] = [this.weight, this.bias].map((values) => values && cast(values, 'float32'))
      return layerNorm(x, weight, bias, this.eps)
    })
  }
}

/** How groups are normalized. */
export interface GroupNormOptions {
  eps?: number
  /** Whether it has weight and bias. */
  affine?: boolean
}

const groupNormKinds: OptionKinds<GroupNormOptions> = { eps: atLeast(0), affine: aBoolean }

/** Channels in groups, each group of each sample normalized by its own mean and variance. */
export class GroupNorm extends Module {
  static readonly typeName: string = 'GroupNorm'
  readonly numGroups: number
  readonly numChannels: number
  readonly eps: number
  /** [numChannels], or null */
  weight: Tensor | null
  /** [numChannels], or null */
  bias: Tensor | null

  /** @throws ShapeError unless groups divide channels */
  constructor(numGroups: number, numChannels: number, options: GroupNormOptions = {}) {
    super()
    checkEach('GroupNorm', { numGroups, numChannels }, wholeNumber(1))
    checkOptions('GroupNorm', options, groupNormKinds)
    if (numChannels % numGroups !== 0)
      throw new ShapeError(`GroupNorm: groups must divide channels (${numChannels}); received ${numGroups}`)
    const { eps = 1e-5, affine = true } = options
    this.numGroups = numGroups
    this.numChannels = numChannels
    this.eps = eps
    this.weight = affine ? Tensor.meta([numChannels]) : null
    this.bias = affine ? Tensor.meta([numChannels]) : null
  }

  override extraRepr(): string {
    return `${this.numGroups}, ${this.numChannels}, eps=${pythonFloat(this.eps)}, affine=${pythonBool(this.weight !== null)}`
  }

  /** Weights of 1, biases of 0. */
  override resetParameters(device: Device): void {
    this.weight &&= constant(device, this.weight, 1)
    this.bias &&= constant(device, this.bias, 0)
  }

  /** x [N, numChannels, ...] float32 → the same shape. */
  forward(x: Tensor): Tensor {
    return scope(() => {
      const [weight, bias] = [this.weight, this.bias].map((values) => values && cast(values, 'float32'))
      return groupNorm(x, this.numGroups, weight, bias, this.eps)
    })
  }
}
