import { conv1d } from '../tensor/ops/conv.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { ForwardConvolution, type ForwardConvolutionOptions } from './convolution.ts'

/** y = bias + x ⋆ weight over the last dimension of x [B, inChannels, length]; arguments as PyTorch's. */
export class Conv1d extends ForwardConvolution {
  static readonly typeName: string = 'Conv1d'
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number,
    options: ForwardConvolutionOptions = {},
  ) {
    super(1, inChannels, outChannels, kernelSize, options)
  }

  protected override convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | null,
    [padding]: readonly number[],
  ): Tensor {
    const { stride, dilation, groups } = this
    return conv1d(x, weight, bias, { stride: stride[0], padding, dilation: dilation[0], groups })
  }
}
