import { ShapeError } from '../../core/errors.ts'
import { either, type Kind, listOf, wholeNumber } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { type Shape, showShape } from '../../core/shape.ts'
import type { ConvSizes as SizeList } from '../../kernels/conv/conv2d/sizes.ts'
import { op } from '../op.ts'
import { checkDType, checkTensor, Tensor } from '../tensor.ts'
import { columnSum } from './columnSum.ts'
import { checkBias } from './matmulTransposed.ts'

/** One number for both axes, or one each: height, width. */
export type Pair = number | readonly [height: number, width: number]

/**
 * How a kernel moves over an image; what is left out is 1, or 0 for padding. Inputs and outputs split into
 * `groups` of channels.
 */
export interface ConvOptions {
  stride?: Pair
  /** Zeros on each side. */
  padding?: Pair
  dilation?: Pair
  groups?: number
}

/** The same for a transposed convolution. */
export interface ConvTransposeOptions extends ConvOptions {
  /**
   * Rows and columns that the output has more than the smallest input of a convolution with these options
   * that gives x.
   */
  outputPadding?: Pair
}

/** A whole number from `least` on, or one for each axis. */
export function aPair(least: number): Kind {
  const size = wholeNumber(least)
  return either(`${size.must}, or [height, width]`, size, listOf('sizes', size, 2))
}

const convKinds: OptionKinds<ConvOptions> = {
  stride: aPair(1),
  padding: aPair(0),
  dilation: aPair(1),
  groups: wholeNumber(1),
}
const transposedKinds: OptionKinds<ConvTransposeOptions> = { ...convKinds, outputPadding: aPair(0) }
const rowKinds: OptionKinds<OneDimensional<ConvOptions>> = {
  stride: wholeNumber(1),
  padding: wholeNumber(0),
  dilation: wholeNumber(1),
  groups: wholeNumber(1),
}
const transposedRowKinds: OptionKinds<OneDimensional<ConvTransposeOptions>> = {
  ...rowKinds,
  outputPadding: wholeNumber(0),
}

/** Both numbers of a pair. */
export function pair(value: Pair): readonly [height: number, width: number] {
  return typeof value === 'number' ? [value, value] : value
}

/**
 * y[b,o] = bias[o] + Σᵢ x[b,i] ⋆ w[o,i], as PyTorch's conv2d: windows of x against the kernel, x 0 outside.
 * @param x [B, inChannels, height, width] float32
 * @param w [outChannels, inChannels / groups, kernelHeight, kernelWidth] float32
 * @param bias [outChannels] float32, or null
 * @returns [B, outChannels, outHeight, outWidth] float32
 * @throws ShapeError if the channels do not fit, or the kernel is larger than the padded image.
 */
export const conv2d = op(
  'conv2d(x, w, bias, options)',
  (x: Tensor, w: Tensor, bias: Tensor | null = null, options: ConvOptions = {}): Tensor => {
    checkFactors('conv2d', x, w)
    const sizes = checkedConvSizes(x, w, bias, options)
    return forward(x, w, bias, sizes)
  },
  ({ dy, needs }, x, w, bias = null, options = {}) => {
    const sizes = convSizes(x, w, options)
    return [
      needs(x) ? inputGradient(dy, w, null, sizes) : null,
      needs(w) ? weightGradient(x, dy, sizes) : null,
      needs(bias) ? columnSum(dy, 1) : null,
    ]
  },
)

/**
 * The sizes of `conv2d`, by the names that kernels take.
 * @throws ShapeError unless x, w and bias fit one another, and the kernel the image
 */
export function checkedConvSizes(x: Shaped, w: Shaped, bias: Tensor | null, options: ConvOptions): ConvSizes {
  checkOptions('conv2d', options, convKinds)
  const sizes = convSizes(x, w, options)
  const { inChannels, outChannels, groups } = sizes
  if (inChannels !== w.shape[1] * groups || outChannels % groups !== 0) {
    throw new ShapeError(
      `conv2d: channels of x (${inChannels}) must be groups (${groups}) times those of w (${w.shape[1]}), and groups must divide outputs (${outChannels}); ${received(x, w)}`,
    )
  }
  if (!(sizes.outHeight >= 1 && sizes.outWidth >= 1)) {
    const { padding, dilation } = complete(options)
    throw new ShapeError(
      `conv2d: the kernel must fit into the padded image; ${received(x, w)}, padding ${padding}, dilation ${dilation}`,
    )
  }
  checkBias('conv2d', bias, outChannels)
  return sizes
}

function convSizes(x: Shaped, w: Shaped, options: ConvOptions): ConvSizes {
  const { stride, padding, dilation, groups } = complete(options)
  const [batch, inChannels, ...image] = x.shape
  const [outChannels, , ...kernel] = w.shape
  const out = image.map(
    (size, axis) =>
      Math.floor((size + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis]) + 1,
  )
  const pairs = { in: image, out, kernel, stride, padding, dilation }
  return named(batch, { inChannels, outChannels }, pairs, groups)
}

/**
 * The transposed convolution, as PyTorch's conv_transpose2d: the gradient by its input of a convolution with
 * these options and w.
 * @param x [B, inChannels, height, width] float32
 * @param w [inChannels, outChannels / groups, kernelHeight, kernelWidth] float32
 * @param bias [outChannels] float32, or null
 * @returns [B, outChannels, (height − 1) · stride − 2 · padding + dilation · (kernelHeight − 1) +
 * outputPadding + 1, likewise] float32
 * @throws ShapeError if the channels do not fit, nothing is left, or outputPadding is not below stride or
 * dilation.
 */
export const convTranspose2d = op(
  'convTranspose2d(x, w, bias, options)',
  (x: Tensor, w: Tensor, bias: Tensor | null = null, options: ConvTransposeOptions = {}): Tensor => {
    checkFactors('convTranspose2d', x, w)
    checkOptions('convTranspose2d', options, transposedKinds)
    const { stride, padding, dilation, groups } = complete(options)
    const outputPadding = pair(options.outputPadding ?? 0)
    const [, inChannels] = x.shape
    if (inChannels !== w.shape[0] || inChannels % groups !== 0) {
      throw new ShapeError(
        `convTranspose2d: channels of x must be those of w, in ${groups} groups; ${received(x, w)}`,
      )
    }
    if (outputPadding.some((size, axis) => !(size >= 0 && size < Math.max(stride[axis], dilation[axis])))) {
      throw new ShapeError(
        `convTranspose2d: outputPadding must be smaller than stride or dilation; received ${outputPadding}`,
      )
    }
    const sizes = transposedSizes(x, w, options)
    if (!(sizes.inHeight >= 1 && sizes.inWidth >= 1)) {
      throw new ShapeError(
        `convTranspose2d: something must be left of the output; ${received(x, w)}, padding ${padding}`,
      )
    }
    checkBias('convTranspose2d', bias, sizes.inChannels)
    return inputGradient(x, w, bias, sizes)
  },
  ({ dy, needs }, x, w, bias = null, options = {}) => {
    const sizes = transposedSizes(x, w, options)
    return [
      needs(x) ? forward(dy, w, null, sizes) : null,
      needs(w) ? weightGradient(dy, x, sizes) : null,
      needs(bias) ? columnSum(dy, 1) : null,
    ]
  },
)

/** Those of the convolution whose output is x. */
function transposedSizes(x: Tensor, w: Tensor, options: ConvTransposeOptions): ConvSizes {
  const { stride, padding, dilation, groups } = complete(options)
  const outputPadding = pair(options.outputPadding ?? 0)
  const [batch, outChannels, ...image] = x.shape
  const [, inGroup, ...kernel] = w.shape
  const whole = image.map((size, axis) => {
    const inner = (size - 1) * stride[axis] - 2 * padding[axis] + dilation[axis] * (kernel[axis] - 1)
    return inner + outputPadding[axis] + 1
  })
  const pairs = { in: whole, out: image, kernel, stride, padding, dilation }
  return named(batch, { inChannels: inGroup * groups, outChannels }, pairs, groups)
}

/** conv2d of one row: x [B, inChannels, length], w [outChannels, inChannels / groups, kernelLength]. */
export const conv1d = op(
  'conv1d(x, w, bias, options)',
  (x: Tensor, w: Tensor, bias: Tensor | null = null, options: OneDimensional<ConvOptions> = {}): Tensor => {
    checkOptions('conv1d', options, rowKinds)
    return ofRow('conv1d', x, w, (row, kernel) => conv2d(row, kernel, bias, rowOptions(options)))
  },
)

/**
 * convTranspose2d of one row: x [B, inChannels, length], w [inChannels, outChannels / groups, kernelLength].
 */
export const convTranspose1d = op(
  'convTranspose1d(x, w, bias, options)',
  (
    x: Tensor,
    w: Tensor,
    bias: Tensor | null = null,
    options: OneDimensional<ConvTransposeOptions> = {},
  ): Tensor => {
    checkOptions('convTranspose1d', options, transposedRowKinds)
    return ofRow('convTranspose1d', x, w, (row, kernel) => {
      return convTranspose2d(row, kernel, bias, {
        ...rowOptions(options),
        outputPadding: [0, options.outputPadding ?? 0],
      })
    })
  },
)

/** What has a shape: a tensor, or a quantized one. */
interface Shaped {
  readonly shape: Shape
}

/** Options with one number each. */
export type OneDimensional<Options> = { [Name in keyof Options]?: number }

/** The options of a row as those of an image of height 1. */
function rowOptions({
  stride = 1,
  padding = 0,
  dilation = 1,
  groups = 1,
}: OneDimensional<ConvOptions>): ConvOptions {
  return { stride: [1, stride], padding: [0, padding], dilation: [1, dilation], groups }
}

function ofRow(operation: string, x: Tensor, w: Tensor, run: (x: Tensor, w: Tensor) => Tensor): Tensor {
  checkTensor(operation, 'x', x)
  checkTensor(operation, 'w', w)
  if (x.shape.length !== 3 || w.shape.length !== 3) {
    throw new ShapeError(
      `${operation}: x must be [B, channels, length] and w [channels, channels, length]; ${received(x, w)}`,
    )
  }
  const asImage = (tensor: Tensor) => tensor.view([...tensor.shape.slice(0, 2), 1, tensor.shape[2]])
  const y = run(asImage(x), asImage(w))
  return y.view([...y.shape.slice(0, 2), y.shape[3]])
}

function checkFactors(operation: string, x: Tensor, w: Tensor): void {
  checkDType(operation, 'x', x, 'float32')
  checkDType(operation, 'w', w, 'float32')
  if (x.shape.length !== 4 || w.shape.length !== 4) {
    throw new ShapeError(
      `${operation}: x must be [B, channels, height, width] and w [channels, channels, height, width]; ${received(x, w)}`,
    )
  }
}

function complete({ stride = 1, padding = 0, dilation = 1, groups = 1 }: ConvOptions) {
  return { stride: pair(stride), padding: pair(padding), dilation: pair(dilation), groups }
}

const received = (x: Shaped, w: Shaped) => `received x ${showShape(x.shape)}, w ${showShape(w.shape)}`

/** The sizes that the kernels take of a convolution, by their names. */
export type ConvSizes = ReturnType<typeof named>

function named(
  batch: number,
  channels: { inChannels: number; outChannels: number },
  pairs: Record<'in' | 'out' | 'kernel' | 'stride' | 'padding' | 'dilation', readonly number[]>,
  groups: number,
) {
  const [inHeight, inWidth] = pairs.in
  const [outHeight, outWidth] = pairs.out
  const [kernelHeight, kernelWidth] = pairs.kernel
  const [strideHeight, strideWidth] = pairs.stride
  const [paddingHeight, paddingWidth] = pairs.padding
  const [dilationHeight, dilationWidth] = pairs.dilation
  return {
    batch,
    ...channels,
    inHeight,
    inWidth,
    outHeight,
    outWidth,
    kernelHeight,
    kernelWidth,
    strideHeight,
    strideWidth,
    paddingHeight,
    paddingWidth,
    dilationHeight,
    dilationWidth,
    groups,
  }
}

/** The sizes in the order of the kernels. */
export function convSizeList(s: ConvSizes): SizeList {
  return [
    ...([s.batch, s.inChannels, s.inHeight, s.inWidth, s.outChannels, s.outHeight, s.outWidth] as const),
    ...([s.kernelHeight, s.kernelWidth, s.strideHeight, s.strideWidth] as const),
    ...([s.paddingHeight, s.paddingWidth, s.dilationHeight, s.dilationWidth, s.groups] as const),
  ]
}

function forward(x: Tensor, w: Tensor, bias: Tensor | null, sizes: ConvSizes): Tensor {
  const { batch, outChannels, outHeight, outWidth } = sizes
  const y = Tensor.empty(x.device, [batch, outChannels, outHeight, outWidth])
  if (y.numel > 0) x.device.call('conv2d', { x, w, bias, y, ...sizes })
  return y
}

function inputGradient(dy: Tensor, w: Tensor, bias: Tensor | null, sizes: ConvSizes): Tensor {
  const { batch, inChannels, inHeight, inWidth } = sizes
  const dx = Tensor.empty(dy.device, [batch, inChannels, inHeight, inWidth])
  if (dx.numel > 0) dy.device.call('conv2dInputGradient', { dy, w, bias, dx, ...sizes })
  return dx
}

function weightGradient(x: Tensor, dy: Tensor, sizes: ConvSizes): Tensor {
  const { inChannels, outChannels, kernelHeight, kernelWidth, groups } = sizes
  const dw = Tensor.empty(dy.device, [outChannels, inChannels / groups, kernelHeight, kernelWidth])
  if (dw.numel > 0) dy.device.call('conv2dWeightGradient', { x, dy, dw, ...sizes })
  return dw
}
