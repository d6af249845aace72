import { ShapeError } from '../../core/errors.ts'
import { reduceOps } from '../../kernels/reduce/reduce.ts'
import { checkDType, checkShape, Tensor } from '../tensor.ts'

/** Rows and columns of x seen as a matrix of its last dimension. */
function asMatrix(operation: string, x: Tensor): [rows: number, cols: number] {
  checkDType(operation, 'x', x, 'float32')
  const cols = x.size(-1) ?? 1
  if (cols === 0) throw new ShapeError(`${operation}: the last dimension of x must not be empty; received [${x.shape.join(',')}]`)
  return [x.numel / cols, cols]
}

/** Reduces the last dimension: x [..., C] float32 → y [...] float32. NaN propagates. */
export function reduce(op: keyof typeof reduceOps, x: Tensor): Tensor {
  const [rows, cols] = asMatrix(op, x)
  const y = Tensor.empty(x.device, x.shape.slice(0, -1))
  if (rows > 0) x.device.call('reduce', reduceOps[op], x, y, rows, cols)
  return y
}

/** Index of the largest value of the last dimension, the first of equals: x [..., C] float32 → y [...] int32. */
export function argmax(x: Tensor): Tensor {
  const [rows, cols] = asMatrix('argmax', x)
  const y = Tensor.empty(x.device, x.shape.slice(0, -1), 'int32')
  if (rows > 0) x.device.call('argmax', x, y, rows, cols)
  return y
}

/** y = exp(x − max) / Σ exp(x − max) over the last dimension of x [..., C] float32. */
export function softmax(x: Tensor): Tensor {
  const [rows, cols] = asMatrix('softmax', x)
  const y = Tensor.empty(x.device, x.shape)
  if (rows > 0) x.device.call('softmax', x, y, rows, cols)
  return y
}

/**
 * nll = log Σ exp(logits) − logits[target], the negative log-likelihood of each row's target.
 * @param logits [rows, V] float32
 * @param targets [rows] int32, each in 0..V−1 (checked where they are made)
 * @returns [rows] float32
 */
export function crossEntropy(logits: Tensor, targets: Tensor): Tensor {
  const [rows, cols] = asMatrix('crossEntropy', logits)
  checkDType('crossEntropy', 'targets', targets, 'int32')
  checkShape('crossEntropy', 'targets', targets, [rows])
  const nll = Tensor.empty(logits.device, [rows])
  if (rows > 0) logits.device.call('crossEntropy', logits, targets, nll, rows, cols)
  return nll
}

/** KL(p ‖ q) of each row, p = softmax(logits), q = softmax(otherLogits), both [rows, V] float32. */
export function klDivergence(logits: Tensor, otherLogits: Tensor): Tensor {
  const [rows, cols] = asMatrix('klDivergence', logits)
  checkDType('klDivergence', 'otherLogits', otherLogits, 'float32')
  checkShape('klDivergence', 'otherLogits', otherLogits, logits.shape)
  const kl = Tensor.empty(logits.device, [rows])
  if (rows > 0) logits.device.call('klDivergence', logits, otherLogits, kl, rows, cols)
  return kl
}
