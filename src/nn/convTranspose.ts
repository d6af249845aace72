import { convTranspose1d, convTranspose2d } from '../tensor/ops/conv.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type ConvTransposeLayerOptions, type PerAxis, TransposedConvolution } from './convolution.ts'

/**
 * The transposed convolution over the last dimension of x [B, inChannels, length]; arguments as PyTorch's.
 */
export class ConvTranspose1d extends TransposedConvolution {
  static readonly typeName: string = 'ConvTranspose1d'
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number,
    options: ConvTransposeLayerOptions = {},
  ) {
    super(1, inChannels, outChannels, kernelSize, options)
  }

  override compute(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    const [[stride], [padding], [dilation], [outputPadding]] = [
      this.stride,
      this.padding,
      this.dilation,
      this.outputPadding,
    ]
    return convTranspose1d(x, weight, bias, { stride, padding, dilation, outputPadding, groups: this.groups })
  }
}

/**
 * The transposed convolution over the last two dimensions of x [B, inChannels, height, width]; arguments as
 * PyTorch's.
 */
export class ConvTranspose2d extends TransposedConvolution {
  static readonly typeName: string = 'ConvTranspose2d'
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: PerAxis,
    options: ConvTransposeLayerOptions = {},
  ) {
    super(2, inChannels, outChannels, kernelSize, options)
  }

  override compute(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    const { stride, padding, dilation, outputPadding, groups } = this
    return convTranspose2d(x, weight, bias, {
      stride: [stride[0], stride[1]],
      padding: [padding[0], padding[1]],
      dilation: [dilation[0], dilation[1]],
      outputPadding: [outputPadding[0], outputPadding[1]],
      groups,
    })
  }
}
