import { squaredErrors } from '../../qtensor/relativeDistance.ts'
import {
  abs,
  add,
  clamp,
  columnSum,
  concat,
  div,
  exp,
  expand,
  log,
  matmul,
  mul,
  reduce,
  slice,
  sqrt,
  sub,
  sum,
} from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import { wholeGroups } from './inputMoments.ts'

/*
 * The scales among which AWQ searches, and what one of them costs.
 * Source: Lin et al., "AWQ", 2023; AutoAWQ 0.2.9, quantize/quantizer.py.
 */

/** What weights become and stand for, floats again: rows [N, K] float32 → the same. */
export type Rounding = (rows: Tensor) => Tensor

/** How large the weights of each column are beside the largest of their groups, on average. */
export function relativeMagnitudes(weights: readonly Tensor[], groupSize: number): Tensor {
  return scope(() => {
    const rows = concat(weights, 0)
    const [N, K] = rows.shape
    const padded = wholeGroups(abs(rows), groupSize)
    const groups = padded.view([padded.numel / groupSize, groupSize])
    const largest = add(reduce('absmax', groups), 1e-6).view([groups.shape[0], 1])
    const relative = div(groups, expand(largest, groups.shape)).view(padded.shape)
    return div(slice(columnSum(relative, 1), 0, 0, K), N)
  })
}

/**
 * s = xʳ / (w¹⁻ʳ + 10⁻⁴), each at least 10⁻⁴, divided by √(max s · min s).
 * @param x mean magnitudes of the inputs, [K] float32
 * @param w those of `relativeMagnitudes`, [K] float32; null: s = xʳ
 * @param r from 0 to 1
 */
export function gridScales(x: Tensor, w: Tensor | null, r: number): Tensor {
  return scope(() => {
    const numerator = power(x, r)
    const scales = clamp(w ? div(numerator, add(power(w, 1 - r), 1e-4)) : numerator, 1e-4, Infinity)
    const middle = sqrt(mul(reduce('max', scales), reduce('min', scales)))
    return div(scales, expand(middle.view([1]), scales.shape))
  })
}

/** xʳ for x ≥ 0; 0 counts as a very small number. */
function power(x: Tensor, r: number): Tensor {
  return exp(mul(log(clamp(x, 1e-30, Infinity)), r))
}

/** The weight whose columns are multiplied by scales while they are rounded: round(w · s) / s. */
export function roundedBy(rows: Tensor, scales: Tensor, round: Rounding): Tensor {
  return scope(() => div(round(mul(rows, scales)), scales))
}

/**
 * Σ (x · (w − ŵ)ᵀ)² over all inputs x and outputs, [] float32.
 * @param gram Σ xᵀ · x, [K, K] float32
 */
export function gramError(rows: Tensor, rounded: Tensor, gram: Tensor): Tensor {
  return scope(() => {
    const difference = sub(rows, rounded)
    return sum(mul(matmul(difference, gram), difference))
  })
}

/** Σ (y − ŷ)², [] float32. */
export function outputError(y: Tensor, other: Tensor): Tensor {
  return scope(() => {
    const [error] = squaredErrors(y, other)
    return error.view([])
  })
}
