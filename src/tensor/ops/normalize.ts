import { dtypes } from '../../core/dtype.ts'
import { ShapeError } from '../../core/errors.ts'
import { anObject, atLeast, orNull, show, within } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { showShape } from '../../core/shape.ts'
import { rowsPerPartial } from '../../kernels/norm/rowNormGrad/rowNormGrad.ts'
import { op } from '../op.ts'
import { PendingRows, type RowsOf } from '../pendingRows.ts'
import { scope } from '../scope.ts'
import type { Gradient } from '../tape.ts'
import { checkDType, checkShape, checkTensor, Tensor } from '../tensor.ts'
import { add, cast, div, mul, neg, sqrt, sub } from './elementwise.ts'
import { sum } from './reduce.ts'
import { full } from './strided.ts'

/**
 * y = x / √(mean(x²) + ε) · weight over the last dimension.
 * Source: Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019, equation 4.
 * @param x [..., C] float32
 * @param weight [C] float32, float16 or bfloat16
 */
export const rmsNorm = op(
  'rmsNorm(x, weight, epsilon)',
  (x: Tensor, weight: Tensor, epsilon: number): Tensor => {
    checkDType('rmsNorm', 'x', x, 'float32')
    const cols = x.size(-1)
    checkDType('rmsNorm', 'weight', weight, 'float32', 'float16', 'bfloat16')
    checkShape('rmsNorm', 'weight', weight, [cols])
    if (x.numel === 0) return Tensor.empty(x.device, x.shape)
    return new PendingRows(x.shape, rmsNormRows(epsilon), x, weight)
  },
  ({ dy }, x, weight, epsilon) =>
    rowNormGradients(false, x, cast(weight, 'float32'), epsilon, dy).slice(0, 2),
)

function rmsNormRows(epsilon: number): RowsOf<[x: Tensor, weight: Tensor]> {
  const factors = (x: Tensor, weight: Tensor) => ({
    ...{ x, weight, weightDtype: dtypes[weight.dtype].code, epsilon },
    ...{ rows: x.numel / x.size(-1), cols: x.size(-1) },
  })
  return {
    floats(y, x, weight) {
      y.device.call('rmsNorm', { ...factors(x, weight), y })
    },
    int8(into, x, weight) {
      x.device.call('quantizeRmsNorm', { ...factors(x, weight), ...into })
    },
  }
}

/**
 * y = (x − mean) / √(variance + ε) · weight + bias over the last dimension.
 * Source: Ba, Kiros, Hinton, "Layer Normalization", 2016, equation 3.
 * @param x [..., C] float32
 * @param weight,bias [C] float32, or null for 1 and 0
 */
export const layerNorm = op(
  'layerNorm(x, weight, bias, epsilon)',
  (x: Tensor, weight: Tensor | null, bias: Tensor | null, epsilon: number = 1e-5): Tensor => {
    checkDType('layerNorm', 'x', x, 'float32')
    const cols = x.size(-1)
    checkPerChannel('layerNorm', { weight, bias }, cols)
    const y = Tensor.empty(x.device, x.shape)
    if (x.numel > 0) x.device.call('layerNorm', { x, weight, bias, epsilon, y, rows: x.numel / cols, cols })
    return y
  },
  ({ dy, needs }, x, weight, bias, epsilon = 1e-5) => {
    const [dx, dweight, dbias] = rowNormGradients(true, x, weight, epsilon, dy)
    return [dx, needs(weight) ? dweight : null, needs(bias) ? dbias : null]
  },
)

/** dx, dweight, dbias through a normalization of rows. */
function rowNormGradients(
  centered: boolean,
  x: Tensor,
  weight: Tensor | null,
  epsilon: number,
  dy: Tensor,
): [Tensor, Tensor, Tensor] {
  const cols = x.size(-1)
  const rows = x.numel / cols
  const dx = Tensor.empty(x.device, x.shape)
  const partials = Math.ceil(rows / rowsPerPartial)
  const partial = Tensor.empty(x.device, [partials, 2, cols])
  const sums = Tensor.empty(x.device, [2, cols])
  if (rows > 0)
    x.device.call('rowNormGrad', {
      centered: centered ? 1 : 0,
      x,
      weight,
      epsilon,
      dy,
      dx,
      partial,
      rows,
      cols,
    })
  x.device.call('columnSum', { x: partial, y: sums, rows: partials, cols: 2 * cols, inner: 1 })
  return [dx, sums.rows(0, 1).view([cols]), sums.rows(1, 2).view([cols])]
}

/** What batch normalization remembers: [C] float32 each, and the number of batches, int64. */
export interface RunningStatistics {
  mean: Tensor
  variance: Tensor
  batches: Tensor | null
}

/** How a batch is normalized, and what remembers its statistics. */
export interface BatchNormSettings {
  epsilon?: number
  momentum?: number
  running?: RunningStatistics | null
}

const batchNormKinds: OptionKinds<BatchNormSettings> = {
  epsilon: atLeast(0),
  momentum: within(0, 1),
  running: orNull(anObject),
}

/**
 * y = (x − mean) / √(variance + ε) · weight + bias, mean and variance taken of each channel over the batch;
 * the running statistics move towards them by `momentum`.
 * Source: Ioffe, Szegedy, "Batch Normalization", 2015, algorithm 1.
 * @param x [N, C] or [N, C, …] float32
 * @param weight,bias [C] float32, or null for 1 and 0
 * @throws ShapeError if a channel has a single value
 */
export function batchNorm(
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  options: BatchNormSettings = {},
): Tensor {
  checkOptions('batchNorm', options, batchNormKinds)
  return normalizeBatch(x, weight, bias, options)
}

/** `batchNorm` with settings that are sound. */
export function normalizeBatch(
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  options: BatchNormSettings,
): Tensor {
  return scope(() => batchNormWithStatistics(x, weight, bias, options)[0])
}

const batchNormWithStatistics = op(
  'batchNorm(x, weight, bias, options)',
  (
    x: Tensor,
    weight: Tensor | null,
    bias: Tensor | null,
    { epsilon = 1e-5, momentum = 0.1, running = null }: BatchNormSettings,
  ): [y: Tensor, mean: Tensor, inverse: Tensor] => {
    const sizes = channelSizes('batchNorm', x)
    const { outer, channels, inner } = sizes
    checkPerChannel(
      'batchNorm',
      { weight, bias, 'running mean': running?.mean ?? null, 'running variance': running?.variance ?? null },
      channels,
    )
    if (outer * inner < 2) {
      throw new ShapeError(
        `batchNorm: needs more than one value per channel to train; received ${showShape(x.shape)}`,
      )
    }
    const y = Tensor.empty(x.device, x.shape)
    const mean = Tensor.empty(x.device, [channels])
    const inverse = Tensor.empty(x.device, [channels])
    const remembered = {
      runningMean: running?.mean,
      runningVariance: running?.variance,
      batches: running?.batches,
    }
    const settings = { epsilon, momentum }
    x.device.call('batchNorm', { x, weight, bias, ...settings, y, mean, inverse, ...remembered, ...sizes })
    for (const tensor of Object.values(remembered)) tensor?.changed()
    return [y, mean, inverse]
  },
  ({ dy, y: [, mean, inverse], needs }, x, weight, bias) => {
    const sizes = channelSizes('batchNorm', x)
    const dx = Tensor.empty(x.device, x.shape)
    const [dweight, dbias] = [0, 1].map(() => Tensor.empty(x.device, [sizes.channels]))
    x.device.call('batchNormGrad', { x, dy, weight, mean, inverse, dx, dweight, dbias, ...sizes })
    return [dx, needs(weight) ? dweight : null, needs(bias) ? dbias : null]
  },
)

/**
 * y = x · scale + shift, one scale and shift a channel: what batch normalization does when it does not train.
 * @param x [N, C] or [N, C, …] float32
 * @param scale [C] float32
 * @param shift [C] float32, or null
 */
export const channelAffine = op(
  'channelAffine(x, scale, shift)',
  (x: Tensor, scale: Tensor, shift: Tensor | null): Tensor => {
    const sizes = channelSizes('channelAffine', x)
    checkTensor('channelAffine', 'scale', scale)
    checkPerChannel('channelAffine', { scale, shift }, sizes.channels)
    const y = Tensor.empty(x.device, x.shape)
    if (x.numel > 0) x.device.call('channelAffine', { x, scale, shift, y, ...sizes })
    return y
  },
  ({ dy, needs }, x, scale, shift): Gradient[] => {
    const { outer, channels, inner } = channelSizes('channelAffine', x)
    return [
      needs(x) ? channelAffine(dy, scale, null) : null,
      needs(scale) ? sum(mul(dy, x).view([outer, channels, inner]), [0, 2]) : null,
      needs(shift) ? sum(dy.view([outer, channels, inner]), [0, 2]) : null,
    ]
  },
)

/**
 * What batch normalization is when it does not train, y = x · scale + shift: scale = weight / √(variance +
 * ε), shift = bias − mean · scale, all [C].
 */
export function foldedStatistics(
  weight: Tensor | null,
  bias: Tensor | null,
  mean: Tensor,
  variance: Tensor,
  epsilon: number,
): { scale: Tensor; shift: Tensor } {
  const deviation = sqrt(add(variance, epsilon))
  const scale = div(weight ?? full(mean, 1), deviation)
  const moved = mul(mean, scale)
  return { scale, shift: bias ? sub(bias, moved) : neg(moved) }
}

/**
 * y = (x − mean) / √(variance + ε) · weight + bias, by statistics that are known: batch normalization when it
 * does not train.
 * @param x [N, C] or [N, C, …] float32
 * @param weight,bias [C] float32, or null for 1 and 0
 * @param mean,variance [C] float32
 */
export const batchNormInference = op(
  'batchNormInference(x, weight, bias, mean, variance, epsilon)',
  (
    x: Tensor,
    weight: Tensor | null,
    bias: Tensor | null,
    mean: Tensor,
    variance: Tensor,
    epsilon: number = 1e-5,
  ): Tensor =>
    scope(() => {
      const { channels } = channelSizes('batchNormInference', x)
      checkTensor('batchNormInference', 'mean', mean)
      checkTensor('batchNormInference', 'variance', variance)
      checkPerChannel('batchNormInference', { weight, bias, mean, variance }, channels)
      const { scale, shift } = foldedStatistics(weight, bias, mean, variance, epsilon)
      return channelAffine(x, scale, shift)
    }),
)

/**
 * Channels in groups: each group of each sample is normalized by its own mean and variance, then scaled and
 * shifted channel by channel.
 * Source: Wu, He, "Group Normalization", 2018, equation 7.
 * @param x [N, C, …] float32
 * @param weight,bias [C] float32, or null for 1 and 0
 * @throws ShapeError unless groups divide channels
 */
export function groupNorm(
  x: Tensor,
  groups: number,
  weight: Tensor | null,
  bias: Tensor | null,
  epsilon = 1e-5,
): Tensor {
  const { outer: N, channels } = channelSizes('groupNorm', x)
  if (!(Number.isInteger(groups) && groups > 0 && channels % groups === 0))
    throw new ShapeError(
      `groupNorm: groups (${show(groups)}) must divide channels (${channels}); ${showShape(x.shape)}`,
    )
  return scope(() => {
    const normal = layerNorm(x.view([N * groups, x.numel / (N * groups)]), null, null, epsilon).view(x.shape)
    return weight ? channelAffine(normal, weight, bias) : normal
  })
}

/** x [N, C, …] as [outer, channels, inner]. */
function channelSizes(operation: string, x: Tensor): Record<'outer' | 'channels' | 'inner', number> {
  checkDType(operation, 'x', x, 'float32')
  if (x.shape.length < 2)
    throw new ShapeError(`${operation}: x must be [N,C] or [N,C,…]; received ${showShape(x.shape)}`)
  const [N, C] = x.shape
  return { outer: N, channels: C, inner: x.numel / (N * C) }
}

function checkPerChannel(operation: string, tensors: Record<string, Tensor | null>, channels: number): void {
  for (const [name, tensor] of Object.entries(tensors)) {
    if (!tensor) continue
    checkDType(operation, name, tensor, 'float32')
    checkShape(operation, name, tensor, [channels])
  }
}
