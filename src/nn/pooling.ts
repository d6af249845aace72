import { check } from '../core/kinds.ts'
import { checkOptions } from '../core/options.ts'
import {
  type AvgPoolOptions,
  adaptiveAvgPool2d,
  adaptiveMaxPool2d,
  avgPool2d,
  type MaxPoolOptions,
  maxPool2d,
  type Pair,
} from '../tensor/ops/index.ts'
import { avgPoolKinds, maxPoolKinds, windowSize } from '../tensor/ops/pool.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { pythonBool } from './linear.ts'
import { Module } from './module.ts'

/** `2` or `(2, 3)`, as PyTorch prints a size. */
function showPair(pair: Pair): string {
  return typeof pair === 'number' ? String(pair) : `(${pair.join(', ')})`
}

/** The largest value of each window. */
export class MaxPool2d extends Module {
  readonly kernelSize: Pair
  readonly options: MaxPoolOptions

  constructor(kernelSize: Pair, options: MaxPoolOptions = {}) {
    super()
    check('MaxPool2d', 'kernelSize', kernelSize, windowSize)
    checkOptions('MaxPool2d', options, maxPoolKinds)
    this.kernelSize = kernelSize
    this.options = options
  }

  override extraRepr(): string {
    const { stride = this.kernelSize, padding = 0, dilation = 1, ceilMode = false } = this.options
    const sizes = `kernel_size=${showPair(this.kernelSize)}, stride=${showPair(stride)}, padding=${showPair(padding)}`
    return `${sizes}, dilation=${showPair(dilation)}, ceil_mode=${pythonBool(ceilMode)}`
  }

  /** x [..., H, W] float32 → [..., outH, outW]. */
  forward(x: Tensor): Tensor {
    return maxPool2d(x, this.kernelSize, this.options)
  }
}

/** The mean of each window. */
export class AvgPool2d extends Module {
  readonly kernelSize: Pair
  readonly options: AvgPoolOptions

  constructor(kernelSize: Pair, options: AvgPoolOptions = {}) {
    super()
    check('AvgPool2d', 'kernelSize', kernelSize, windowSize)
    checkOptions('AvgPool2d', options, avgPoolKinds)
    this.kernelSize = kernelSize
    this.options = options
  }

  override extraRepr(): string {
    const { stride = this.kernelSize, padding = 0 } = this.options
    return `kernel_size=${showPair(this.kernelSize)}, stride=${showPair(stride)}, padding=${showPair(padding)}`
  }

  /** x [..., H, W] float32 → [..., outH, outW]. */
  forward(x: Tensor): Tensor {
    return avgPool2d(x, this.kernelSize, this.options)
  }
}

/** The mean of each of `outputSize` windows that cover the image; 1 is global pooling. */
export class AdaptiveAvgPool2d extends Module {
  readonly outputSize: Pair

  constructor(outputSize: Pair) {
    super()
    check('AdaptiveAvgPool2d', 'outputSize', outputSize, windowSize)
    this.outputSize = outputSize
  }

  override extraRepr(): string {
    return `output_size=${showPair(this.outputSize)}`
  }

  /** x [..., H, W] float32 → [..., outH, outW]. */
  forward(x: Tensor): Tensor {
    return adaptiveAvgPool2d(x, this.outputSize)
  }
}

/** The largest value of each of `outputSize` windows that cover the image. */
export class AdaptiveMaxPool2d extends Module {
  readonly outputSize: Pair

  constructor(outputSize: Pair) {
    super()
    check('AdaptiveMaxPool2d', 'outputSize', outputSize, windowSize)
    this.outputSize = outputSize
  }

  override extraRepr(): string {
    return `output_size=${showPair(this.outputSize)}`
  }

  /** x [..., H, W] float32 → [..., outH, outW]. */
  forward(x: Tensor): Tensor {
    return adaptiveMaxPool2d(x, this.outputSize)
  }
}
