import { conv2d } from '../tensor/ops/conv.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { ForwardConvolution, type ForwardConvolutionOptions, type PerAxis } from './convolution.ts'

/**
 * y = bias + x ⋆ weight over the last two dimensions of x [B, inChannels, height, width]; arguments as
 * PyTorch's.
 */
export class Conv2d extends ForwardConvolution {
  static readonly typeName: string = 'Conv2d'
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: PerAxis,
    options: ForwardConvolutionOptions = {},
  ) {
    super(2, inChannels, outChannels, kernelSize, options)
  }

  protected override convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | null,
    padding: readonly number[],
  ): Tensor {
    const { stride, dilation, groups } = this
    return conv2d(x, weight, bias, {
      stride: [stride[0], stride[1]],
      padding: [padding[0], padding[1]],
      dilation: [dilation[0], dilation[1]],
      groups,
    })
  }
}
