import { ShapeError } from '../../core/errors.ts'
import { aBoolean, above, aFunction, check } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { showShape } from '../../core/shape.ts'
import { scope } from '../scope.ts'
import { record } from '../tape.ts'
import { checkDType, checkTensor, Tensor } from '../tensor.ts'
import { aPair, type Pair, pair } from './conv.ts'

/** How a window moves over an image. */
export interface PoolOptions {
  /** Default: the kernel's size. */
  stride?: Pair
  /** At most half the kernel. */
  padding?: Pair
  /** Whether a last window may hang over the end. */
  ceilMode?: boolean
}

/** How windows of maxima move over an image. */
export interface MaxPoolOptions extends PoolOptions {
  dilation?: Pair
}

/** How windows of averages move over an image. */
export interface AvgPoolOptions extends PoolOptions {
  /** Whether padding counts as values of 0. */
  countIncludePad?: boolean
  /** What sums are divided by instead of the number of values. */
  divisorOverride?: number
}

const poolKinds: OptionKinds<PoolOptions> = { stride: aPair(1), padding: aPair(0), ceilMode: aBoolean }
export const maxPoolKinds: OptionKinds<MaxPoolOptions> = { ...poolKinds, dilation: aPair(1) }
export const avgPoolKinds: OptionKinds<AvgPoolOptions> = {
  ...poolKinds,
  countIncludePad: aBoolean,
  divisorOverride: above(0),
}
/** The size of a window, or of an output. */
export const windowSize = aPair(1)

/** y [..., outH, outW] = the largest value of each window of x [..., H, W] float32. */
export function maxPool2d(x: Tensor, kernelSize: Pair, options: MaxPoolOptions = {}): Tensor {
  checkOptions('maxPool2d', options, maxPoolKinds)
  const dilation = pair(options.dilation ?? 1)
  const { outSize, windows } = plan('maxPool2d', x, kernelSize, options, dilation)
  return largest(x, outSize, windows, dilation)
}

/** y [..., outH, outW] = the mean of each window of x [..., H, W] float32. */
export function avgPool2d(x: Tensor, kernelSize: Pair, options: AvgPoolOptions = {}): Tensor {
  checkOptions('avgPool2d', options, avgPoolKinds)
  const { outSize, windows } = plan('avgPool2d', x, kernelSize, options, [1, 1])
  return average(x, outSize, windows, options)
}

/** y [..., outH, outW] = the largest value of each of outH · outW windows that cover x [..., H, W]. */
export function adaptiveMaxPool2d(x: Tensor, outputSize: Pair): Tensor {
  checkImage('adaptiveMaxPool2d', x)
  check('adaptiveMaxPool2d', 'outputSize', outputSize, windowSize)
  return largest(x, pair(outputSize), adaptive, [1, 1])
}

/** y [..., outH, outW] = the mean of each of outH · outW windows that cover x [..., H, W]. */
export function adaptiveAvgPool2d(x: Tensor, outputSize: Pair): Tensor {
  checkImage('adaptiveAvgPool2d', x)
  check('adaptiveAvgPool2d', 'outputSize', outputSize, windowSize)
  return average(x, pair(outputSize), adaptive, {})
}

/** `pool`, one of the above with its options, over the last dimension of x [..., L] alone. */
export function pool1d(x: Tensor, pool: (x: Tensor) => Tensor): Tensor {
  checkTensor('pool1d', 'x', x)
  check('pool1d', 'pool', pool, aFunction)
  return scope(() => {
    const y = pool(x.view([...x.shape.slice(0, -1), 1, x.size(-1)]))
    checkTensor('pool1d', 'what pool gives', y)
    return y.view([...x.shape.slice(0, -1), y.size(-1)])
  })
}

/** How windows move, by the names that the kernels take. */
type Windows = ReturnType<typeof windowSizes>

function windowSizes(kernel: readonly number[], stride: readonly number[], padding: readonly number[]) {
  const [kernelHeight, kernelWidth] = kernel
  const [strideHeight, strideWidth] = stride
  const [padHeight, padWidth] = padding
  return { kernelHeight, kernelWidth, strideHeight, strideWidth, padHeight, padWidth }
}

/** Kernel 0 says adaptive to the kernels. */
const adaptive = windowSizes([0, 0], [1, 1], [0, 0])

function checkImage(operation: string, x: Tensor): void {
  checkDType(operation, 'x', x, 'float32')
  if (x.shape.length < 3 || x.size(-1) === 0 || x.size(-2) === 0)
    throw new ShapeError(`${operation}: x must be [...,C,H,W] with pixels; received ${showShape(x.shape)}`)
}

/** Output sizes, and how the windows move. */
function plan(
  operation: string,
  x: Tensor,
  kernelSize: Pair,
  options: PoolOptions,
  dilation: readonly [number, number],
) {
  checkImage(operation, x)
  check(operation, 'kernelSize', kernelSize, windowSize)
  const kernel = pair(kernelSize)
  const stride = pair(options.stride ?? kernelSize)
  const padding = pair(options.padding ?? 0)
  const outSize = [0, 1].map((axis) => {
    const size = x.shape[x.shape.length - 2 + axis]
    if (padding[axis] > kernel[axis] / 2) {
      throw new ShapeError(
        `${operation}: padding must be at most half the kernel [${kernel}]; received [${padding}]`,
      )
    }
    const room = size + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1
    let count = (options.ceilMode ? Math.ceil : Math.floor)(room / stride[axis]) + 1
    // A window that starts behind the last value and its padding is none.
    if (options.ceilMode && (count - 1) * stride[axis] >= size + padding[axis]) count--
    if (count < 1)
      throw new ShapeError(
        `${operation}: the kernel [${kernel}] must fit into ${showShape(x.shape)} with padding [${padding}]`,
      )
    return count
  })
  return { outSize, windows: windowSizes(kernel, stride, padding) }
}

function largest(
  x: Tensor,
  [outHeight, outWidth]: readonly number[],
  windows: Windows,
  [dilationHeight, dilationWidth]: readonly number[],
): Tensor {
  const [height, width] = x.shape.slice(-2)
  const planes = x.numel / (height * width)
  return scope(() => {
    const y = Tensor.empty(x.device, [...x.shape.slice(0, -2), outHeight, outWidth])
    const indices = Tensor.empty(x.device, y.shape, 'int32')
    const sizes = { planes, height, width, outHeight, outWidth, dilationHeight, dilationWidth }
    if (planes > 0) x.device.call('maxPool2d', { x, y, indices, ...sizes, ...windows })
    return record(y, [x], (dy) => {
      const dx = Tensor.empty(x.device, x.shape)
      if (planes > 0)
        x.device.call('maxPool2dGrad', {
          indices,
          dy,
          dx,
          planes,
          inSize: height * width,
          outSize: y.numel / planes,
        })
      return [dx]
    })
  })
}

function average(
  x: Tensor,
  [outHeight, outWidth]: readonly number[],
  windows: Windows,
  {
    countIncludePad = true,
    divisorOverride = 0,
  }: Pick<AvgPoolOptions, 'countIncludePad' | 'divisorOverride'>,
): Tensor {
  const [height, width] = x.shape.slice(-2)
  const y = Tensor.empty(x.device, [...x.shape.slice(0, -2), outHeight, outWidth])
  const planes = x.numel / (height * width)
  const divided = { countPadding: Number(countIncludePad), divisor: divisorOverride }
  const sizes = { planes, height, width, outHeight, outWidth, ...windows, ...divided }
  if (planes > 0) x.device.call('avgPool2d', { x, y, ...sizes })
  return record(y, [x], (dy) => {
    const dx = Tensor.empty(x.device, x.shape)
    if (planes > 0) x.device.call('avgPool2dGrad', { dy, dx, ...sizes })
    return [dx]
  })
}
