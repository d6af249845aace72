import { ShapeError } from '../../core/errors.ts'
import { aBoolean, above, aFunction, check } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { showShape } from '../../core/shape.ts'
import { op } from '../op.ts'
import { scope } from '../scope.ts'
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
  return scope(() => maxPool2dWithIndices(x, kernelSize, options)[0])
}

const maxPool2dWithIndices = op(
  'maxPool2d(x, kernelSize, options)',
  (x: Tensor, kernelSize: Pair, options: MaxPoolOptions): [y: Tensor, indices: Tensor] => {
    checkOptions('maxPool2d', options, maxPoolKinds)
    const dilation = pair(options.dilation ?? 1)
    return largest(x, plan('maxPool2d', x, kernelSize, options, dilation), dilation)
  },
  ({ dy, y: [, indices] }, x) => [largestGradient(x, dy, indices)],
)

/** y [..., outH, outW] = the mean of each window of x [..., H, W] float32. */
export const avgPool2d = op(
  'avgPool2d(x, kernelSize, options)',
  (x: Tensor, kernelSize: Pair, options: AvgPoolOptions = {}): Tensor => {
    checkOptions('avgPool2d', options, avgPoolKinds)
    return average(x, plan('avgPool2d', x, kernelSize, options, [1, 1]), options)
  },
  ({ dy }, x, kernelSize, options = {}) => [
    averageGradient(x, dy, plan('avgPool2d', x, kernelSize, options, [1, 1]), options),
  ],
)

/** y [..., outH, outW] = the largest value of each of outH · outW windows that cover x [..., H, W]. */
export function adaptiveMaxPool2d(x: Tensor, outputSize: Pair): Tensor {
  return scope(() => adaptiveMaxPool2dWithIndices(x, outputSize)[0])
}

const adaptiveMaxPool2dWithIndices = op(
  'adaptiveMaxPool2d(x, outputSize)',
  (x: Tensor, outputSize: Pair): [y: Tensor, indices: Tensor] =>
    largest(x, adaptivePlan('adaptiveMaxPool2d', x, outputSize), [1, 1]),
  ({ dy, y: [, indices] }, x) => [largestGradient(x, dy, indices)],
)

/** y [..., outH, outW] = the mean of each of outH · outW windows that cover x [..., H, W]. */
export const adaptiveAvgPool2d = op(
  'adaptiveAvgPool2d(x, outputSize)',
  (x: Tensor, outputSize: Pair): Tensor => average(x, adaptivePlan('adaptiveAvgPool2d', x, outputSize), {}),
  ({ dy }, x, outputSize) => [averageGradient(x, dy, adaptivePlan('adaptiveAvgPool2d', x, outputSize), {})],
)

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

/** How windows move over images, by the names that the kernels take. */
type Plan = ReturnType<typeof planOf>

function planOf(
  x: Tensor,
  out: readonly number[],
  kernel: readonly number[],
  stride: readonly number[],
  padding: readonly number[],
) {
  const [height, width] = x.shape.slice(-2)
  const [outHeight, outWidth] = out
  const [kernelHeight, kernelWidth] = kernel
  const [strideHeight, strideWidth] = stride
  const [padHeight, padWidth] = padding
  const windows = { kernelHeight, kernelWidth, strideHeight, strideWidth, padHeight, padWidth }
  return { planes: x.numel / (height * width), height, width, outHeight, outWidth, ...windows }
}

function adaptivePlan(operation: string, x: Tensor, outputSize: Pair): Plan {
  checkImage(operation, x)
  check(operation, 'outputSize', outputSize, windowSize)
  // Kernel 0 says adaptive to the kernels.
  return planOf(x, pair(outputSize), [0, 0], [1, 1], [0, 0])
}

function checkImage(operation: string, x: Tensor): void {
  checkDType(operation, 'x', x, 'float32')
  if (x.shape.length < 3 || x.size(-1) === 0 || x.size(-2) === 0)
    throw new ShapeError(`${operation}: x must be [...,C,H,W] with pixels; received ${showShape(x.shape)}`)
}

function plan(
  operation: string,
  x: Tensor,
  kernelSize: Pair,
  options: PoolOptions,
  dilation: readonly [number, number],
): Plan {
  checkImage(operation, x)
  check(operation, 'kernelSize', kernelSize, windowSize)
  const kernel = pair(kernelSize)
  const stride = pair(options.stride ?? kernelSize)
  const padding = pair(options.padding ?? 0)
  const out = [0, 1].map((axis) => {
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
  return planOf(x, out, kernel, stride, padding)
}

function largest(
  x: Tensor,
  plan: Plan,
  [dilationHeight, dilationWidth]: readonly number[],
): [y: Tensor, indices: Tensor] {
  const y = Tensor.empty(x.device, [...x.shape.slice(0, -2), plan.outHeight, plan.outWidth])
  const indices = Tensor.empty(x.device, y.shape, 'int32')
  if (plan.planes > 0) x.device.call('maxPool2d', { x, y, indices, ...plan, dilationHeight, dilationWidth })
  return [y, indices]
}

function largestGradient(x: Tensor, dy: Tensor, indices: Tensor): Tensor {
  const dx = Tensor.empty(x.device, x.shape)
  const inSize = x.size(-2) * x.size(-1)
  const planes = x.numel / inSize
  if (planes > 0)
    x.device.call('maxPool2dGrad', { indices, dy, dx, planes, inSize, outSize: dy.numel / planes })
  return dx
}

/** What the values of a window are divided by. */
type Divided = Pick<AvgPoolOptions, 'countIncludePad' | 'divisorOverride'>

const divisorOf = ({ countIncludePad = true, divisorOverride = 0 }: Divided) => ({
  countPadding: Number(countIncludePad),
  divisor: divisorOverride,
})

function average(x: Tensor, plan: Plan, divided: Divided): Tensor {
  const y = Tensor.empty(x.device, [...x.shape.slice(0, -2), plan.outHeight, plan.outWidth])
  if (plan.planes > 0) x.device.call('avgPool2d', { x, y, ...plan, ...divisorOf(divided) })
  return y
}

function averageGradient(x: Tensor, dy: Tensor, plan: Plan, divided: Divided): Tensor {
  const dx = Tensor.empty(x.device, x.shape)
  if (plan.planes > 0) x.device.call('avgPool2dGrad', { dy, dx, ...plan, ...divisorOf(divided) })
  return dx
}
