import { ShapeError } from '../core/errors.ts'
import { aBoolean, atLeast, check, wholeNumber, within } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { showShape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { cast } from '../tensor/ops/index.ts'
import { batchNormInference, foldedStatistics, normalizeBatch } from '../tensor/ops/normalize.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { pythonBool } from './linear.ts'
import { Module } from './module.ts'
import { constant, pythonFloat } from './rmsNorm.ts'

/** Options of batch normalization, as in PyTorch. */
export interface BatchNormOptions {
  eps?: number
  /** How far the running statistics move towards those of a batch. */
  momentum?: number
  /** Whether it has weight and bias. */
  affine?: boolean
  /** Whether it remembers statistics, to use when it does not train. */
  trackRunningStats?: boolean
}

const optionKinds: OptionKinds<BatchNormOptions> = {
  eps: atLeast(0),
  momentum: within(0, 1),
  affine: aBoolean,
  trackRunningStats: aBoolean,
}

/**
 * y = (x − mean) / √(variance + ε) · weight + bias for each channel: in training with mean and variance of
 * the batch, else with those remembered. Buffers have the names that they have in PyTorch's state
 * dictionaries.
 */
export abstract class BatchNorm extends Module {
  readonly numFeatures: number
  readonly eps: number
  readonly momentum: number
  /** [numFeatures], or null */
  weight: Tensor | null
  /** [numFeatures], or null */
  bias: Tensor | null
  /** [numFeatures], or null */
  running_mean: Tensor | null
  /** [numFeatures], or null */
  running_var: Tensor | null
  /** [] int64, or null */
  num_batches_tracked: Tensor | null

  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super()
    check(this.typeName, 'numFeatures', numFeatures, wholeNumber(0))
    checkOptions(this.typeName, options, optionKinds)
    const { eps = 1e-5, momentum = 0.1, affine = true, trackRunningStats = true } = options
    this.numFeatures = numFeatures
    this.eps = eps
    this.momentum = momentum
    this.weight = affine ? Tensor.meta([numFeatures]) : null
    this.bias = affine ? Tensor.meta([numFeatures]) : null
    this.running_mean = trackRunningStats ? Tensor.meta([numFeatures]) : null
    this.running_var = trackRunningStats ? Tensor.meta([numFeatures]) : null
    this.num_batches_tracked = trackRunningStats ? Tensor.meta([], 'int64') : null
  }

  override get bufferNames(): readonly string[] {
    return ['running_mean', 'running_var', 'num_batches_tracked']
  }

  override extraRepr(): string {
    const { numFeatures, eps, momentum } = this
    const flags = `affine=${pythonBool(this.weight !== null)}, track_running_stats=${pythonBool(this.running_mean !== null)}`
    return `${numFeatures}, eps=${pythonFloat(eps)}, momentum=${momentum}, ${flags}`
  }

  /** Weights and variances of 1, biases and means of 0. */
  override resetParameters(device: Device): void {
    this.weight &&= constant(device, this.weight, 1)
    this.bias &&= constant(device, this.bias, 0)
    this.running_mean &&= constant(device, this.running_mean, 0)
    this.running_var &&= constant(device, this.running_var, 1)
    this.num_batches_tracked &&= constant(device, this.num_batches_tracked, 0)
  }

  /**
   * x [N, numFeatures, ...] float32 → the same shape.
   * @throws ShapeError if x has other channels, or one value for each of them in training
   */
  forward(x: Tensor): Tensor {
    if (x.shape[1] !== this.numFeatures)
      throw new ShapeError(
        `${this.typeName}: x must have ${this.numFeatures} channels; received ${showShape(x.shape)}`,
      )
    const { eps: epsilon, momentum, running_mean, running_var, num_batches_tracked: batches } = this
    return scope(() => {
      const [weight, bias] = [this.weight, this.bias].map((values) => values && cast(values, 'float32'))
      if (!running_mean || !running_var) return normalizeBatch(x, weight, bias, { epsilon, momentum })
      if (this.training)
        return normalizeBatch(x, weight, bias, {
          epsilon,
          momentum,
          running: { mean: running_mean, variance: running_var, batches },
        })
      return batchNormInference(x, weight, bias, running_mean, running_var, epsilon)
    })
  }

  /**
   * Scale and shift [numFeatures] that stand for the layer when it does not train, to be folded into the
   * layer before it.
   * @throws ShapeError if it keeps no statistics
   */
  folded(): { scale: Tensor; shift: Tensor } {
    const { running_mean: mean, running_var: variance } = this
    if (!mean || !variance)
      throw new ShapeError(
        'foldBatchNorm: the layer must keep running statistics; received one that keeps none',
      )
    return scope(() => {
      const [weight, bias] = [this.weight, this.bias].map((values) => values && cast(values, 'float32'))
      return foldedStatistics(weight, bias, mean, variance, this.eps)
    })
  }
}

/** Batch normalization of x [N, C] or [N, C, L]. */
export class BatchNorm1d extends BatchNorm {
  override forward(x: Tensor): Tensor {
    if (x.shape.length > 3)
      throw new ShapeError(`BatchNorm1d: x must be [N,C] or [N,C,L]; received ${showShape(x.shape)}`)
    return super.forward(x)
  }
}

/** Batch normalization of x [N, C, H, W]. */
export class BatchNorm2d extends BatchNorm {
  override forward(x: Tensor): Tensor {
    if (x.shape.length !== 4)
      throw new ShapeError(`BatchNorm2d: x must be [N,C,H,W]; received ${showShape(x.shape)}`)
    return super.forward(x)
  }
}
