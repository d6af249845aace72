import { DTypeError, ShapeError } from '../../core/errors.ts'
import { check, oneOf, show } from '../../core/kinds.ts'
import { numel } from '../../core/shape.ts'
import { reduceOps } from '../../kernels/reduce/reduce/reduce.ts'
import { type Op, op } from '../op.ts'
import { scope } from '../scope.ts'
import { checkDType, checkShape, checkTensor, Tensor } from '../tensor.ts'
import { expand } from './broadcast.ts'
import { mul } from './elementwise.ts'
import { permute, transpose } from './shape.ts'
import { axisOf } from './strided.ts'

/** Rows and columns of x seen as a matrix of its last dimension. */
function asMatrix(operation: string, x: Tensor): [rows: number, cols: number] {
  checkDType(operation, 'x', x, 'float32')
  const cols = x.size(-1) ?? 1
  if (cols === 0)
    throw new ShapeError(
      `${operation}: the last dimension of x must not be empty; received [${x.shape.join(',')}]`,
    )
  return [x.numel / cols, cols]
}

/**
 * Reduces the last dimension: x [..., C] float32 → y [...] float32. NaN propagates. Only sum and mean have a
 * gradient.
 */
export const reduce = op(
  'reduce(op, x)',
  (op: keyof typeof reduceOps, x: Tensor): Tensor => {
    if (reduceOps[op] === undefined) check('reduce', 'op', op, oneOf(...Object.keys(reduceOps)))
    const [rows, cols] = asMatrix(op, x)
    const y = Tensor.empty(x.device, x.shape.slice(0, -1))
    if (rows > 0) x.device.call('reduce', { op: reduceOps[op], x, y, rows, cols })
    return y
  },
  ({ dy }, op, x) => {
    if (op !== 'sum' && op !== 'mean')
      throw new DTypeError(`${op}: only sum and mean have a gradient; received one for ${op}`)
    const each = expand(dy.view([...dy.shape, 1]), x.shape)
    return [null, op === 'sum' ? each : mul(each, 1 / x.size(-1))]
  },
)

/** y = Σ x over all values, or over the axes listed, which disappear; [] float32 for all. */
export const sum = op('sum(x, axes)', (x: Tensor, axes?: readonly number[]) => reduceAxes('sum', x, axes))

/** y = Σ x / n over all values, or over the axes listed, which disappear; [] float32 for all. */
export const mean = op('mean(x, axes)', (x: Tensor, axes?: readonly number[]) => reduceAxes('mean', x, axes))

function reduceAxes(op: 'sum' | 'mean', x: Tensor, axes: readonly number[] | undefined): Tensor {
  checkTensor(op, 'x', x)
  if (axes !== undefined && !Array.isArray(axes))
    throw new ShapeError(`${op}: axes must be a list of axes; received ${show(axes)}`)
  if (!axes) return scope(() => reduce(op, x.view([x.numel])))
  const gone = axes.map((axis) => axisOf(op, x, axis))
  const kept = x.shape.map((_, axis) => axis).filter((axis) => !gone.includes(axis))
  const shape = kept.map((axis) => x.shape[axis])
  return scope(() => {
    const moved = kept.every((axis, i) => axis === i) ? x : permute(x, [...kept, ...gone])
    return reduce(op, moved.view([...shape, x.numel / numel(shape)]))
  })
}

/**
 * Index of the largest value of the last dimension, the first of equals: x [..., C] float32 → y [...] int32.
 */
export const argmax = op('argmax(x)', (x: Tensor): Tensor => {
  const [rows, cols] = asMatrix('argmax', x)
  const y = Tensor.empty(x.device, x.shape.slice(0, -1), 'int32')
  if (rows > 0) x.device.call('argmax', { x, y, rows, cols })
  return y
})

/** y = exp(x − max) / Σ exp(x − max) over the last dimension of x [..., C] float32, or over `axis`. */
export const softmax = alongAxis('softmax')

/** y = x − log Σ exp(x) over the last dimension of x [..., C] float32, or over `axis`. */
export const logSoftmax = alongAxis('logSoftmax')

function alongAxis(name: 'softmax' | 'logSoftmax'): Op<[x: Tensor, axis?: number], Tensor> {
  const lastAxis = op(
    `${name}(x)`,
    (x: Tensor): Tensor => {
      const [rows, cols] = asMatrix(name, x)
      const y = Tensor.empty(x.device, x.shape)
      if (rows > 0) x.device.call(name, { x, y, rows, cols })
      return y
    },
    ({ dy, y }, x) => {
      const [rows, cols] = asMatrix(name, x)
      const dx = Tensor.empty(x.device, x.shape)
      const log = name === 'logSoftmax' ? 1 : 0
      if (rows > 0) x.device.call('softmaxGrad', { log, y, dy, dx, rows, cols })
      return [dx]
    },
  )
  return op(`${name}(x, axis)`, (x: Tensor, axis: number = -1) =>
    axisOf(name, x, axis) === x.shape.length - 1
      ? lastAxis(x)
      : scope(() => transpose(lastAxis(transpose(x, axis, -1)), axis, -1)),
  )
}

/**
 * nll = log Σ exp(logits) − logits[target], the negative log-likelihood of each row's target.
 * @param logits [rows, V] float32
 * @param targets [rows] int32, each in 0..V−1 (checked where they are made)
 * @returns [rows] float32
 */
export const crossEntropy = op('crossEntropy(logits, targets)', (logits: Tensor, targets: Tensor): Tensor => {
  const [rows, cols] = asMatrix('crossEntropy', logits)
  checkDType('crossEntropy', 'targets', targets, 'int32')
  checkShape('crossEntropy', 'targets', targets, [rows])
  const nll = Tensor.empty(logits.device, [rows])
  if (rows > 0) logits.device.call('crossEntropy', { logits, targets, nll, rows, cols })
  return nll
})

/** KL(p ‖ q) of each row, p = softmax(logits), q = softmax(otherLogits), both [rows, V] float32. */
export const klDivergence = op(
  'klDivergence(logits, otherLogits)',
  (logits: Tensor, otherLogits: Tensor): Tensor => {
    const [rows, cols] = asMatrix('klDivergence', logits)
    checkDType('klDivergence', 'otherLogits', otherLogits, 'float32')
    checkShape('klDivergence', 'otherLogits', otherLogits, logits.shape)
    const kl = Tensor.empty(logits.device, [rows])
    if (rows > 0) logits.device.call('klDivergence', { logits, otherLogits, kl, rows, cols })
    return kl
  },
)
