import { DTypeError, ShapeError } from '../core/errors.ts'
import { aBoolean, check, type Kind, oneOf } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { showShape } from '../core/shape.ts'
import {
  abs,
  clamp,
  div,
  exp,
  log,
  logSoftmax,
  mean,
  mul,
  nll,
  permute,
  sub,
  sum,
} from '../tensor/ops/index.ts'
import { nllKinds } from '../tensor/ops/nll.ts'
import { scope } from '../tensor/scope.ts'
import { checkShape, Tensor } from '../tensor/tensor.ts'
import { noteTargets, targetTensor } from './classTargets.ts'

/** What a loss takes: a tensor, or something quantized that can be made one. */
export interface Dequantizable {
  dequantize(): Tensor
}

/** How the losses of single values or rows become one: their mean, their sum, or not at all. */
export type Reduction = 'mean' | 'sum' | 'none'

/** Options of the losses over classes, as in PyTorch. */
export interface ClassLossOptions {
  reduction?: Reduction
  /** Rows with this target count nothing. */
  ignoreIndex?: number
  /** The share of each target that is spread over all classes. */
  labelSmoothing?: number
}

/** What a loss of single values is set by. */
export interface LossOptions {
  reduction?: Reduction
}

/** How a divergence is averaged, and what its target is. */
export interface KLDivLossOptions {
  /** `batchmean` averages over the first dimension. */
  reduction?: Reduction | 'batchmean'
  /** Whether the target is given as log-probabilities, too. */
  logTarget?: boolean
}

const lossKinds: OptionKinds<LossOptions> = { reduction: oneOf('mean', 'sum', 'none') }
const nllLossKinds: OptionKinds<Omit<ClassLossOptions, 'labelSmoothing'>> = {
  ...lossKinds,
  ignoreIndex: nllKinds.ignoreIndex,
}
const classLossKinds: OptionKinds<ClassLossOptions> = {
  ...nllLossKinds,
  labelSmoothing: nllKinds.labelSmoothing,
}
const klDivKinds: OptionKinds<KLDivLossOptions> = {
  reduction: oneOf('mean', 'sum', 'none', 'batchmean'),
  logTarget: aBoolean,
}

const dequantizable: Kind = {
  must: 'be a tensor',
  holds: (value) => typeof value === 'object' && value !== null && 'dequantize' in value,
  error: DTypeError,
}

/** The floats of an argument of a loss. */
function floatsOf(operation: string, name: string, value: Dequantizable): Tensor {
  check(operation, name, value, dequantizable)
  return value.dequantize()
}

/**
 * −log softmax(input)[target], averaged over the targets that are not ignored.
 *
 * Targets given as numbers are checked; of those on a device one outside 0..C−1 makes the loss NaN, and
 * `trainEpoch` says which.
 * @param input logits [N, C], [N, C, …] or [C] float32
 * @param target class indices [N], [N, …] or one
 * @throws ShapeError if a target lies outside 0..C−1 and is not `ignoreIndex`
 */
export function crossEntropyLoss(
  input: Dequantizable,
  target: Tensor | ArrayLike<number>,
  options: ClassLossOptions = {},
): Tensor {
  const operation = 'crossEntropyLoss'
  checkOptions(operation, options, classLossKinds)
  return scope(() =>
    classLoss(
      operation,
      logSoftmax(classesLast(operation, floatsOf(operation, 'input', input))),
      target,
      options,
    ),
  )
}

/**
 * −input[target] of log-probabilities, averaged over the targets that are not ignored; arguments as in
 * `crossEntropyLoss`.
 */
export function nllLoss(
  input: Dequantizable,
  target: Tensor | ArrayLike<number>,
  options: Omit<ClassLossOptions, 'labelSmoothing'> = {},
): Tensor {
  checkOptions('nllLoss', options, nllLossKinds)
  return scope(() =>
    classLoss('nllLoss', classesLast('nllLoss', floatsOf('nllLoss', 'input', input)), target, options),
  )
}

/** (input − target)², averaged over all values. */
export function mseLoss(input: Dequantizable, target: Dequantizable, options: LossOptions = {}): Tensor {
  checkOptions('mseLoss', options, lossKinds)
  return scope(() => {
    const difference = differenceOf('mseLoss', input, target)
    return reduced(mul(difference, difference), options.reduction)
  })
}

/** |input − target|, averaged over all values. */
export function l1Loss(input: Dequantizable, target: Dequantizable, options: LossOptions = {}): Tensor {
  checkOptions('l1Loss', options, lossKinds)
  return scope(() => reduced(abs(differenceOf('l1Loss', input, target)), options.reduction))
}

/**
 * target · (log target − input) of log-probabilities `input`, averaged over all values as in PyTorch;
 * `batchmean` averages over the first dimension, which is the divergence. Where a target is 0 its logarithm
 * counts nothing.
 */
export function klDivLoss(
  input: Dequantizable,
  target: Dequantizable,
  options: KLDivLossOptions = {},
): Tensor {
  checkOptions('klDivLoss', options, klDivKinds)
  return scope(() => {
    const [q, p] = [floatsOf('klDivLoss', 'input', input), floatsOf('klDivLoss', 'target', target)]
    checkShape('klDivLoss', 'target', p, q.shape)
    const difference = sub(options.logTarget ? p : log(clamp(p, smallest, Infinity)), q)
    const losses = mul(options.logTarget ? exp(p) : p, difference)
    if (options.reduction !== 'batchmean') return reduced(losses, options.reduction)
    return mul(sum(losses), 1 / q.shape[0])
  })
}

/** The smallest normal float32: below it a probability's product with its logarithm vanishes. */
const smallest = 2 ** -126

/** Classes as the last of two dimensions: PyTorch has them second, whatever follows. */
function classesLast(operation: string, x: Tensor): Tensor {
  if (x.shape.length === 0)
    throw new ShapeError(`${operation}: input must be [N,C], [N,C,…] or [C]; received ${showShape(x.shape)}`)
  if (x.shape.length <= 2) return x.view([x.numel / x.size(-1), x.size(-1)])
  const axes = x.shape.map((_, axis) => axis)
  const moved = permute(x, [0, ...axes.slice(2), 1])
  return moved.view([x.numel / x.shape[1], x.shape[1]])
}

function classLoss(
  operation: string,
  x: Tensor,
  target: Tensor | ArrayLike<number>,
  options: ClassLossOptions,
): Tensor {
  const { reduction = 'mean', ignoreIndex = -100, labelSmoothing = 0 } = options
  const targets = targetTensor(operation, x, target, ignoreIndex)
  const { loss, counted } = nll(x, targets, { ignoreIndex, labelSmoothing })
  if (target instanceof Tensor) noteTargets({ operation, targets, classes: x.size(-1), ignoreIndex })
  if (reduction === 'none') return target instanceof Tensor ? loss.view(target.shape) : loss
  return reduction === 'sum' ? sum(loss) : div(sum(loss), sum(counted))
}

function differenceOf(operation: string, input: Dequantizable, target: Dequantizable): Tensor {
  const [y, expected] = [floatsOf(operation, 'input', input), floatsOf(operation, 'target', target)]
  checkShape(operation, 'target', expected, y.shape)
  return sub(y, expected)
}

function reduced(losses: Tensor, reduction: Reduction = 'mean'): Tensor {
  if (reduction === 'none') return losses
  return reduction === 'sum' ? sum(losses) : mean(losses)
}
