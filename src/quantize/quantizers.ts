import { dtypes } from '../core/dtype.ts'
import { DTypeError } from '../core/errors.ts'
import type { QType } from '../core/qtype.ts'
import type { Quantizer } from '../qtensor/quantizer.ts'
import { Tensor } from '../tensor/tensor.ts'

/**
 * scale = max|w| / qmax of each group: signed types. quanto's AbsmaxOptimizer, its default for 8 bits.
 * Source: optimum-quanto 0.2.7, tensor/optimizers/absmax_optimizer.py.
 */
export const absmax: Quantizer = (groups, qtype) => {
  if (qtype.unsigned) throw new DTypeError(`absmax: the type must be signed (int8 or float8); received ${qtype.name}, which max is for`)
  const [rows, cols] = groups.shape
  const scale = Tensor.empty(groups.device, [rows], groups.dtype)
  groups.device.call('absmaxScale', groups, dtypes[groups.dtype].code, scale, rows, cols, qtype.qmax)
  return { scale, shift: null }
}

/**
 * scale = (max − min) / (2^bits − 1), shift = −min of each group, for unsigned types; for signed ones `absmax`.
 * quanto's MaxOptimizer, its default for 2 and 4 bits.
 * Source: optimum-quanto 0.2.7, tensor/optimizers/max_optimizer.py.
 */
export const max: Quantizer = (groups, qtype) => {
  if (!qtype.unsigned) return absmax(groups, qtype)
  const [rows, cols] = groups.shape
  const scale = Tensor.empty(groups.device, [rows], groups.dtype)
  const shift = Tensor.empty(groups.device, [rows], groups.dtype)
  groups.device.call('minmaxScale', groups, dtypes[groups.dtype].code, scale, shift, rows, cols, qtype.qmax)
  return { scale, shift }
}

export interface HqqOptions {
  /** The norm of the error that is made small, 0 < norm ≤ 1: below 1, few large errors count less than many small ones. */
  norm?: number
  /** How weakly errors are shrunk at first, and by what that grows with each step. */
  beta?: number
  kappa?: number
  /** Steps at most. */
  iterations?: number
}

/**
 * The scale of `max`, and a shift that is moved, step by step, to where the norm of the weight's error is smallest (unsigned types).
 * quanto's HqqOptimizer, with its defaults; see kernels/hqqShift.
 */
export function hqq({ norm = 0.7, beta = 10, kappa = 1.01, iterations = 20 }: HqqOptions = {}): Quantizer {
  return (groups, qtype) => {
    const { scale, shift } = max(groups, qtype)
    if (!shift) throw new DTypeError(`hqq: the type must be unsigned (int2 or int4); received ${qtype.name}, which absmax is for`)
    const [rows, cols] = groups.shape
    const trial = Tensor.empty(groups.device, [rows], groups.dtype)
    const error = Tensor.empty(groups.device, [rows])
    const steps = Tensor.empty(groups.device, [1], 'int32')
    const dtype = dtypes[groups.dtype].code
    const search = [scale, shift, trial, error, steps] as const
    groups.device.call('hqqShift', groups, dtype, ...search, rows, cols, qtype.qmax, norm, beta, kappa, iterations)
    return { scale, shift }
  }
}

/**
 * The scales of a `quantizer` of unsigned types with integer zero points z = clamp(rne(shift / scale), 0, 2^bits − 1), so that a weight of 0 stays 0.
 * quanto's `zeropoint=True`.
 * Source: optimum-quanto 0.2.7, tensor/optimizers/affine_optimizer.py.
 */
export function withZeroPoint(quantizer: Quantizer): Quantizer {
  return (groups, qtype) => {
    const { scale, shift } = quantizer(groups, qtype)
    if (!shift) throw new DTypeError(`withZeroPoint: the quantizer must choose shifts; received none for ${qtype.name}`)
    const zeroPoint = Tensor.empty(groups.device, [scale.numel], qtype.dtype)
    groups.device.call('quantize', shift, dtypes[shift.dtype].code, scale, null, zeroPoint, scale.numel, 1, qtype.code)
    return { scale, shift: null, zeroPoint }
  }
}

/** The quantizers by the names that `algorithm` takes. */
export const quantizers = { absmax, max, hqq: hqq() } satisfies Record<string, Quantizer>
export type QuantizerName = keyof typeof quantizers

/** quanto's choice: absmax for 8 bits, max below. */
export function defaultQuantizer(qtype: QType): Quantizer {
  return qtype.unsigned ? max : absmax
}
