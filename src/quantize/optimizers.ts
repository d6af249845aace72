import { dtypes } from '../core/dtype.ts'
import { DTypeError } from '../core/errors.ts'
import type { QType } from '../core/qtype.ts'
import type { Optimizer } from '../qtensor/optimizer.ts'
import { Tensor } from '../tensor/tensor.ts'

/**
 * scale = max|w| / qmax of each group: symmetric types. quanto's AbsmaxOptimizer, its default for 8 bits.
 * Source: optimum-quanto 0.2.7, tensor/optimizers/absmax_optimizer.py.
 */
export const absmax: Optimizer = (groups, qtype) => {
  if (qtype.affine) throw new DTypeError(`absmax: the type must be symmetric (int8 or float8); received ${qtype.name}, which max is for`)
  const [rows, cols] = groups.shape
  const scale = Tensor.empty(groups.device, [rows], groups.dtype)
  groups.device.call('absmaxScale', groups, dtypes[groups.dtype].code, scale, rows, cols, qtype.qmax)
  return { scale, shift: null }
}

/**
 * scale = (max − min) / (2^bits − 1), shift = −min of each group: affine types. quanto's MaxOptimizer, its default for 2 and 4 bits.
 * Source: optimum-quanto 0.2.7, tensor/optimizers/max_optimizer.py.
 */
export const max: Optimizer = (groups, qtype) => {
  if (!qtype.affine) throw new DTypeError(`max: the type must be affine (int2 or int4); received ${qtype.name}, which absmax is for`)
  const [rows, cols] = groups.shape
  const scale = Tensor.empty(groups.device, [rows], groups.dtype)
  const shift = Tensor.empty(groups.device, [rows], groups.dtype)
  groups.device.call('minmaxScale', groups, dtypes[groups.dtype].code, scale, shift, rows, cols, qtype.qmax)
  return { scale, shift }
}

/** The optimizers by the names that the command line takes. */
export const optimizers = { absmax, max } satisfies Record<string, Optimizer>
export type OptimizerName = keyof typeof optimizers

/** quanto's choice: absmax for 8 bits, max below. */
export function defaultOptimizer(qtype: QType): Optimizer {
  return qtype.affine ? max : absmax
}
