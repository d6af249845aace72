import { ShapeError } from '../../core/errors.ts'
import { showShape } from '../../core/shape.ts'
import { op } from '../op.ts'
import { checkDType, Tensor } from '../tensor.ts'
import { type ConvOptions, pair } from './conv.ts'
import { pad } from './pad.ts'
import { copyStrided } from './strided.ts'

/**
 * The windows that a convolution multiplies its kernel with, one a row, in the order of its outputs: y = rows
 * · wᵀ for w [outChannels, C · kernelHeight · kernelWidth]. No gradient passes.
 * @param x [B, C, height, width] float32
 * @returns [B · outHeight · outWidth, C · kernelHeight · kernelWidth] float32
 * @throws ShapeError if the kernel is larger than the padded image
 */
export const unfold = op(
  'unfold(x, kernel, options)',
  (
    x: Tensor,
    kernel: readonly [height: number, width: number],
    options: Omit<ConvOptions, 'groups'> = {},
  ): Tensor => {
    checkDType('unfold', 'x', x, 'float32')
    const [stride, padding, dilation] = [
      options.stride ?? 1,
      options.padding ?? 0,
      options.dilation ?? 1,
    ].map(pair)
    const image = pad(x, [padding[1], padding[1], padding[0], padding[0]])
    const [B, C, height, width] = image.shape
    const [outHeight, outWidth] = [height, width].map(
      (size, axis) => Math.floor((size - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis]) + 1,
    )
    if (!(outHeight >= 1 && outWidth >= 1))
      throw new ShapeError(
        `unfold: the kernel must fit into the padded image; received ${showShape(x.shape)}, kernel ${kernel}, padding ${padding}`,
      )
    const [kernelHeight, kernelWidth] = kernel
    const window = kernelHeight * kernelWidth
    const y = Tensor.empty(x.device, [B * outHeight * outWidth, C * window])
    const places = outHeight * outWidth * C * window
    // A copy takes five dimensions: one for each row of the kernel.
    for (let row = 0; row < kernelHeight; row++)
      copyStrided(
        'unfold',
        [B, outHeight, outWidth, C, kernelWidth],
        image,
        {
          strides: [C * height * width, stride[0] * width, stride[1], height * width, dilation[1]],
          offset: row * dilation[0] * width,
        },
        y,
        { strides: [places, outWidth * C * window, C * window, window, 1], offset: row * kernelWidth },
      )
    return y
  },
)
