import { ShapeError } from '../core/errors.ts'
import { aBoolean, check, checkEach, either, type Kind, listOf, oneOf, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import type { Random } from '../core/random.ts'
import type { Device } from '../devices/device.ts'
import type { QActivation } from '../qtensor/activation.ts'
import { convolveIntegers } from '../qtensor/convolution.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { aPadMode, type PadMode, pad } from '../tensor/ops/pad.ts'
import { unfold } from '../tensor/ops/unfold.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { Module } from './module.ts'
import { resetLinear } from './uniform.ts'

/** One number for every axis, or one for each. */
export type PerAxis = number | readonly number[]

/** How a convolution moves; what is left out is 1, or 0 for padding. */
export interface ConvolutionOptions {
  stride?: PerAxis
  dilation?: PerAxis
  groups?: number
  bias?: boolean
}

/** A whole number from `least` on for every axis, or one for each. */
function sizes(axes: number, least: number): Kind {
  const size = wholeNumber(least)
  return either(`${size.must}, or a list of ${axes}`, size, listOf('sizes', size, axes))
}

function checkSizes(
  layer: string,
  axes: number,
  inChannels: number,
  outChannels: number,
  kernelSize: PerAxis,
): void {
  checkEach(layer, { inChannels, outChannels }, wholeNumber(0))
  check(layer, 'kernelSize', kernelSize, sizes(axes, 1))
}

function optionKinds(axes: number): OptionKinds<ConvolutionOptions> {
  return { stride: sizes(axes, 1), dilation: sizes(axes, 1), groups: wholeNumber(1), bias: aBoolean }
}

/** What convolutions of any number of axes have in common. */
export abstract class Convolution extends Module {
  readonly inChannels: number
  readonly outChannels: number
  readonly kernelSize: readonly number[]
  readonly stride: readonly number[]
  readonly dilation: readonly number[]
  readonly groups: number
  /**
   * [outChannels, inChannels / groups, ...kernelSize]; transposed: [inChannels, outChannels / groups,
   * ...kernelSize]
   */
  weight: Tensor
  /** [outChannels], or null */
  bias: Tensor | null

  /** @throws ShapeError unless groups divide both numbers of channels */
  constructor(
    axes: number,
    weightChannels: readonly [number, number],
    inChannels: number,
    outChannels: number,
    kernelSize: PerAxis,
    options: ConvolutionOptions,
  ) {
    super()
    const groups = options.groups ?? 1
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new ShapeError(
        `${this.typeName}: groups (${groups}) must divide the channels; received ${inChannels} and ${outChannels}`,
      )
    }
    this.inChannels = inChannels
    this.outChannels = outChannels
    this.kernelSize = perAxis(axes, kernelSize)
    this.stride = perAxis(axes, options.stride ?? 1)
    this.dilation = perAxis(axes, options.dilation ?? 1)
    this.groups = groups
    this.weight = Tensor.meta([...weightChannels, ...this.kernelSize])
    this.bias = (options.bias ?? true) ? Tensor.meta([outChannels]) : null
  }

  /** y for these weights instead of the layer's own. */
  abstract compute(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor

  /** x [B, inChannels, ...] float32 → [B, outChannels, ...] float32. */
  forward(x: Tensor): Tensor {
    return scope(() => this.compute(x, cast(this.weight, 'float32'), this.bias && cast(this.bias, 'float32')))
  }

  override resetParameters(device: Device, random: Random): void {
    const [, fanIn, ...kernel] = this.weight.shape
    resetLinear(
      this,
      kernel.reduce((product, size) => product * size, fanIn),
      device,
      random,
    )
  }

  /** The arguments as PyTorch prints them; `middle` are those between stride and groups. */
  protected repr(middle: readonly string[], last: readonly string[] = []): string {
    return [
      `${this.inChannels}, ${this.outChannels}, kernel_size=${tuple(this.kernelSize)}, stride=${tuple(this.stride)}`,
      ...middle,
      ...(this.groups === 1 ? [] : [`groups=${this.groups}`]),
      ...(this.bias ? [] : ['bias=False']),
      ...last,
    ].join(', ')
  }
}

/** Options of a convolution that is not transposed. */
export interface ForwardConvolutionOptions extends ConvolutionOptions {
  /** Values added on each side; `same` keeps the size (for stride 1), `valid` is none. */
  padding?: PerAxis | 'same' | 'valid'
  paddingMode?: PadMode
}

/** Conv1d and Conv2d. */
export abstract class ForwardConvolution extends Convolution {
  readonly padding: readonly number[] | 'same' | 'valid'
  readonly paddingMode: PadMode

  constructor(
    axes: number,
    inChannels: number,
    outChannels: number,
    kernelSize: PerAxis,
    options: ForwardConvolutionOptions,
  ) {
    checkSizes(new.target.name, axes, inChannels, outChannels, kernelSize)
    checkOptions(new.target.name, options, {
      ...optionKinds(axes),
      padding: either(`${sizes(axes, 0).must}, or same or valid`, sizes(axes, 0), oneOf('same', 'valid')),
      paddingMode: aPadMode,
    })
    super(
      axes,
      [outChannels, inChannels / (options.groups ?? 1)],
      inChannels,
      outChannels,
      kernelSize,
      options,
    )
    const padding = options.padding ?? 0
    this.padding = typeof padding === 'string' ? padding : perAxis(axes, padding)
    this.paddingMode = options.paddingMode ?? 'zeros'
  }

  override extraRepr(): string {
    const padding = typeof this.padding === 'string' ? this.padding : tuple(this.padding)
    return this.repr(
      [
        ...(typeof this.padding !== 'string' && this.padding.every((size) => size === 0)
          ? []
          : [`padding=${padding}`]),
        ...(this.dilation.every((size) => size === 1) ? [] : [`dilation=${tuple(this.dilation)}`]),
      ],
      this.paddingMode === 'zeros' ? [] : [`padding_mode=${this.paddingMode}`],
    )
  }

  override compute(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    return scope(() => {
      const [image, padding] = this.bordered(x)
      return this.convolve(image, weight, bias, padding)
    })
  }

  /**
   * The windows [B · places, inChannels · kernel] of x that the weight, as a matrix, multiplies; of
   * convolutions without groups.
   */
  windows(x: Tensor): Tensor {
    return scope(() => {
      const [image, padding] = this.bordered(x)
      const [B, C, ...size] = image.shape
      const { kernelSize, stride, dilation } = this
      // One axis is an image of one row.
      const two = (values: readonly number[], first: number) =>
        (values.length === 1 ? [first, values[0]] : values) as [number, number]
      const options = { stride: two(stride, 1), dilation: two(dilation, 1), padding: two(padding, 0) }
      return unfold(image.view([B, C, ...two(size, 1)]), two(kernelSize, 1), options)
    })
  }

  /** The zeros on each side that a kernel takes in its stride; null where the border is none such. */
  zeros(): readonly number[] | null {
    const borders = this.borders()
    const even = borders.every(([before, behind]) => before === behind)
    return this.paddingMode === 'zeros' && even ? borders.map(([before]) => before) : null
  }

  /** What is added before and behind each axis. */
  private borders(): number[][] {
    return this.kernelSize.map((size, axis) => {
      if (this.padding === 'valid') return [0, 0]
      if (this.padding !== 'same') return [this.padding[axis], this.padding[axis]]
      // The odd one of them goes behind.
      const total = this.dilation[axis] * (size - 1)
      return [Math.floor(total / 2), Math.ceil(total / 2)]
    })
  }

  /** x with the border that is no zeros around it or not even, and the zeros that lie around that. */
  private bordered(x: Tensor): [image: Tensor, zeros: readonly number[]] {
    const zeros = this.zeros()
    if (zeros) return [x, zeros]
    const borders = this.borders()
    const [last, outer] = borders.toReversed()
    const around = [last[0], last[1], ...(outer ?? [0, 0])] as [number, number, number, number]
    return [pad(x, around, this.paddingMode), borders.map(() => 0)]
  }

  /**
   * y for int8 codes in the place of x and of the weight; undefined where that is to be computed on floats.
   * Only for borders of zeros.
   */
  convolveCodes(x: QActivation, weight: QTensor, bias: Tensor | null): Tensor | undefined {
    const { stride, dilation, groups } = this
    const padding = this.zeros() ?? []
    const [B, C, ...size] = x.shape
    // One axis is an image of one row.
    const row = size.length === 1
    const two = (values: readonly number[], first: number) =>
      (row ? [first, values[0]] : values) as [number, number]
    const options = { stride: two(stride, 1), padding: two(padding, 0), dilation: two(dilation, 1), groups }
    return scope(() => {
      const image = row ? (x.view([B, C, 1, ...size]) as QActivation) : x
      const y = convolveIntegers(image, weight, bias, options)
      return y && (row ? y.view([B, y.size(1), y.size(-1)]) : y)
    })
  }

  /** The convolution itself, with so many zeros on each side. */
  protected abstract convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | null,
    padding: readonly number[],
  ): Tensor
}

/** Options of a transposed convolution. */
export interface ConvTransposeLayerOptions extends ConvolutionOptions {
  /** What the convolution that this one turns around is padded with. */
  padding?: PerAxis
  outputPadding?: PerAxis
}

/** ConvTranspose1d and ConvTranspose2d. */
export abstract class TransposedConvolution extends Convolution {
  readonly padding: readonly number[]
  readonly outputPadding: readonly number[]

  constructor(
    axes: number,
    inChannels: number,
    outChannels: number,
    kernelSize: PerAxis,
    options: ConvTransposeLayerOptions,
  ) {
    checkSizes(new.target.name, axes, inChannels, outChannels, kernelSize)
    checkOptions(new.target.name, options, {
      ...optionKinds(axes),
      padding: sizes(axes, 0),
      outputPadding: sizes(axes, 0),
    })
    super(
      axes,
      [inChannels, outChannels / (options.groups ?? 1)],
      inChannels,
      outChannels,
      kernelSize,
      options,
    )
    this.padding = perAxis(axes, options.padding ?? 0)
    this.outputPadding = perAxis(axes, options.outputPadding ?? 0)
  }

  override extraRepr(): string {
    return this.repr([
      ...(this.padding.every((size) => size === 0) ? [] : [`padding=${tuple(this.padding)}`]),
      ...(this.dilation.every((size) => size === 1) ? [] : [`dilation=${tuple(this.dilation)}`]),
      ...(this.outputPadding.every((size) => size === 0)
        ? []
        : [`output_padding=${tuple(this.outputPadding)}`]),
    ])
  }
}

function perAxis(axes: number, value: PerAxis): readonly number[] {
  return typeof value === 'number' ? new Array<number>(axes).fill(value) : value
}

/** `(3, 3)`, as Python prints tuples. */
function tuple(values: readonly number[]): string {
  return values.length === 1 ? `(${values[0]},)` : `(${values.join(', ')})`
}
