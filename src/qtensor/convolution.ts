import type { QType } from '../core/qtype.ts'
import { inferShape, type Shape, sameShape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import type { Storage } from '../devices/storage.ts'
import { keepsOrder, laidColumns, windowsFit } from '../kernels/conv/conv2dInt8/layout.ts'
import { type Handlers, op } from '../tensor/op.ts'
import { type ConvOptions, type ConvSizes, checkedConvSizes, convSizeList } from '../tensor/ops/conv.ts'
import { addTensors, clamp, relu } from '../tensor/ops/elementwise.ts'
import { concat, permute } from '../tensor/ops/shape.ts'
import { keep } from '../tensor/scope.ts'
import { needsGrad, waitForChanges } from '../tensor/tape.ts'
import { Tensor, view } from '../tensor/tensor.ts'
import { QActivation, quantizeActivation } from './activation.ts'
import type { WeightFacts } from './parts.ts'
import { isStatic } from './product.ts'
import type { QTensor } from './qtensor.ts'
import { encodeRows } from './rows.ts'
import { packTiles } from './tiles.ts'
import { withoutGradient } from './weightBlocks.ts'

/** Whether `conv2dInt8` takes a weight whose columns are in order: int8, a scale for each output channel. */
export function convolvesIntegers(weight: WeightFacts): boolean {
  return isStatic(weight) && weight.offset === null
}

/** What the kernel takes but for what is made of the sums. */
interface Factors {
  readonly x: Tensor
  readonly xScale: Tensor
  readonly w: Tensor
  readonly wScale: Tensor
  readonly bias: Tensor | null
  readonly addend: Tensor | null
  readonly sizes: ConvSizes
}

/** What values are limited to. */
interface Limits {
  readonly low: number
  readonly high: number
}

const unlimited: Limits = { low: -Infinity, high: Infinity }

/**
 * A convolution of int8 codes that has yet to be computed. It is a float32 tensor to whoever uses it,
 * computed when its memory is first asked for, or before anything that it is computed from is overwritten.
 * What is added to it, what limits its values, and what quantizes them, is taken into that pass, so that no
 * floats lie between a convolution, its ReLU and the codes for the next one, and those of a residual block
 * are written together with them.
 */
export class PendingConvolution extends Tensor {
  override readonly handlers: Handlers = pendingOps
  private readonly home: Device
  private readonly limits: Limits
  /** Shared until the floats are there. */
  private factors: Factors | null
  private floats: Tensor | null = null
  /** How many operations use it; undefined: nobody said. */
  private users: number | undefined
  private readonly stopWaiting: () => void

  constructor(factors: Factors, limits: Limits, shape: Shape) {
    super(null, shape, 'float32')
    const share = (tensor: Tensor) => keep(view(tensor, tensor.shape))
    const { x, xScale, w, wScale, bias, addend, sizes } = factors
    this.home = x.device
    this.limits = limits
    this.factors = {
      ...{ x: share(x), xScale: share(xScale), w: share(w), wScale: share(wScale) },
      ...{ bias: bias && share(bias), addend: addend && share(addend.computed()), sizes },
    }
    this.stopWaiting = waitForChanges(() => (this.home.open ? this.computed() : this.forget()))
  }

  override usedBy(operations: number): void {
    this.users = operations
  }

  /** Its factors, where another operation may be taken into its pass: no one else needs its floats. */
  private get open(): Factors | null {
    return (this.users ?? 1) > 1 ? null : this.factors
  }

  /** Whether something may be added to it: before its values are limited, once. */
  get takesAddend(): boolean {
    const { low, high } = this.limits
    return this.open?.addend === null && low === -Infinity && high === Infinity
  }

  /** The same values with others added, of the same shape; see `takesAddend`. */
  plus(addend: Tensor): PendingConvolution | undefined {
    const { open } = this
    return open ? new PendingConvolution({ ...open, addend }, unlimited, this.shape) : undefined
  }

  /** The same values limited to low … high; undefined where the floats are needed. */
  limited(low: number, high: number): PendingConvolution | undefined {
    const within = (bound: number) => Math.max(low, Math.min(high, bound))
    const limits = { low: within(this.limits.low), high: within(this.limits.high) }
    const { open } = this
    return open ? new PendingConvolution(open, limits, this.shape) : undefined
  }

  /** The same values as a tensor of another shape; undefined where the floats are needed. */
  viewed(shape: Shape): PendingConvolution | undefined {
    const { open } = this
    return open ? new PendingConvolution(open, this.limits, shape) : undefined
  }

  /**
   * The codes of the values, by the reciprocal of the scale, whether or not the floats are there. Those are
   * computed in the same pass where others will ask for them; unless it was said, that is expected of the sum
   * of a residual block: the next block takes its codes, and adds its floats.
   */
  quantized(qtype: QType, scale: Tensor): QActivation {
    const { factors, users } = this
    let codes: Tensor
    if (factors) {
      codes = Tensor.empty(this.device, this.shape, 'int8')
      const several = users === undefined ? factors.addend !== null : users > 1
      this.compute(factors, several, scale, codes)
    } else codes = encodeRows(this, { scale }, qtype, { reciprocal: true })
    return new QActivation(qtype, codes, scale.detach())
  }

  /** Computes the floats, which are kept, the codes by a scale, or both. */
  private compute(
    { sizes, ...factors }: Factors,
    floats: boolean,
    codeScale: Tensor | null,
    codes: Tensor | null,
  ): void {
    const y = floats ? keep(Tensor.empty(this.device, this.shape)) : null
    if (this.numel > 0)
      this.device.call('conv2dInt8', { ...factors, ...this.limits, y, codeScale, codes, ...sizes })
    if (!y) return
    this.floats = y
    this.forget()
  }

  override get isMeta(): boolean {
    return false
  }

  override get device(): Device {
    return this.home
  }

  /** Of the floats, computed at the first call. */
  override get storage(): Storage {
    if (this.factors) this.compute(this.factors, true, null, null)
    return this.floats?.storage ?? super.storage
  }

  override computed(): this {
    void this.storage
    return this
  }

  override dispose(): void {
    super.dispose()
    this.forget()
    this.floats?.dispose()
    this.floats = null
  }

  private forget(): void {
    this.stopWaiting()
    if (!this.factors) return
    const { x, xScale, w, wScale, bias, addend } = this.factors
    for (const tensor of [x, xScale, w, wScale, bias, addend]) tensor?.dispose()
    this.factors = null
  }
}

/** The operations that are taken into the pass; all others compute on the floats. */
const pendingOps: Handlers = new Map<unknown, (...args: never[]) => Tensor | undefined>([
  [relu, of((x) => x.limited(0, Infinity))],
  [clamp, of((x, low: number, high: number) => x.limited(Math.fround(low), Math.fround(high)))],
  [view, of((x, shape: Shape) => x.viewed(inferShape('view', x.shape, shape)))],
  [addTensors, summed],
  [
    quantizeActivation,
    of((x, qtype: QType, scale: Tensor) =>
      qtype.dtype === 'int8' && !needsGrad(scale) ? x.quantized(qtype, scale) : undefined,
    ),
  ],
])

/** Of two that could take the other, the second: mostly the first is what that was computed from. */
function summed(a: Tensor, b: Tensor): Tensor | undefined {
  if (a === b || a.dtype !== b.dtype || !sameShape(a.shape, b.shape)) return undefined
  for (const [pending, addend] of [
    [b, a],
    [a, b],
  ])
    if (pending instanceof PendingConvolution && pending.takesAddend)
      return needsGrad(addend) ? undefined : pending.plus(addend)
  return undefined
}

function of<Rest extends readonly unknown[]>(
  handler: (x: PendingConvolution, ...rest: Rest) => Tensor | undefined,
): (...args: never[]) => Tensor | undefined {
  return ((x: unknown, ...rest: Rest) =>
    x instanceof PendingConvolution ? handler(x, ...rest) : undefined) as never
}

/**
 * y = bias + x ⋆ weight as `conv2d` of the floats that the codes stand for, but for its roundings: sums of
 * integers are exact. Undefined where the windows lie too far apart for the kernel, columns are reordered
 * (GPTQ's act-order), or a gradient has to pass.
 * @param x [B, inChannels, height, width] int8 codes
 * @param weight [outChannels, inChannels / groups, kernelHeight, kernelWidth], or without a height, which is
 * 1 then; see `convolvesIntegers`
 */
export function convolveIntegers(
  x: QActivation,
  weight: QTensor,
  bias: Tensor | null,
  options: ConvOptions,
): Tensor | undefined {
  if (weight.order || needsGrad(x) || needsGrad(bias)) return undefined
  const sizes = checkedConvSizes(x, kernelOf(weight), bias, options)
  return windowsFit(...convSizeList(sizes)) ? conv2dInt8(x, weight, bias, options) : undefined
}

const conv2dInt8 = op(
  'conv2dInt8(x, weight, bias, options)',
  (x: QActivation, weight: QTensor, bias: Tensor | null, options: ConvOptions): Tensor => {
    const sizes = checkedConvSizes(x, kernelOf(weight), bias, options)
    const { batch, outChannels, outHeight, outWidth } = sizes
    const [w, wScale] = laidOut(weight, sizes)
    return new PendingConvolution(
      { x: x.codes, xScale: x.scale, w, wScale, bias, addend: null, sizes },
      unlimited,
      [batch, outChannels, outHeight, outWidth],
    )
  },
)

/** The shape of a kernel of two axes. */
function kernelOf({ shape }: QTensor): { shape: Shape } {
  return { shape: shape.length === 3 ? [shape[0], shape[1], 1, shape[2]] : shape }
}

/** Codes as the kernel takes them, and scales [outChannels]; made once, and given back with the weight. */
function laidOut(weight: QTensor, { kernelHeight, kernelWidth }: ConvSizes): [w: Tensor, scale: Tensor] {
  const { codeTiles } = weight
  return codeTiles.derive('convolution', () =>
    withoutGradient((): [Tensor, Tensor] => {
      const [outChannels, inGroup] = weight.shape
      const scale = weight.scale('float32').view([outChannels])
      if (keepsOrder(inGroup, kernelHeight, kernelWidth)) return [codeTiles.view(codeTiles.shape), scale]
      const columns = laidColumns(inGroup, kernelHeight, kernelWidth)
      const taps = [outChannels, inGroup, kernelHeight, kernelWidth]
      const order = inGroup > 1 ? [0, 2, 3, 1] : [0, 1, 3, 2]
      const laid = toQuads(permute(weight.codes().view(taps), order))
      return [packTiles(laid.view([outChannels, columns])), scale]
    }),
  )
}

/** Codes [..., n] with zeros behind them to a multiple of four. */
function toQuads(codes: Tensor): Tensor {
  const missing = -codes.size(-1) & 3
  if (missing === 0) return codes
  const shape = [...codes.shape.slice(0, -1), missing]
  const zeros = new Int8Array(shape.reduce((product, size) => product * size, 1))
  return concat([codes, Tensor.fromArray(codes.device, zeros, shape, 'int8')], -1)
}
