import { qint1 } from '../../core/qtype.ts'
import { encodeRows } from '../../qtensor/rows.ts'
import {
  argmax,
  concat,
  embedding,
  expand,
  matmul,
  mul,
  neg,
  permute,
  reduce,
  slice,
  sub,
  sum,
  transpose,
  where,
} from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { Rounding } from './awqScales.ts'
import { wholeGroups } from './inputMoments.ts'

/** How far weights are clipped at most, and in how many steps from none to all of them. */
export interface ClipSearch {
  /** The part of the largest magnitude that may go. */
  maxShrink: number
  steps: number
}

/** AutoAWQ's. */
export const usualClip: ClipSearch = { maxShrink: 0.5, steps: 20 }

/**
 * The magnitude at which the weights of each group are cut off so that the group's part of the output, x · w,
 * changes least when they are rounded: of (1 − i / steps) · max |w|, the first of the best.
 * @param rows [N, K] float32
 * @param grams Σ xᵀ · x of the inputs of each group, [groups, G, G] float32
 * @param round what becomes of groups, rows of G weights
 * @returns [N, groups] float32
 * Source: AutoAWQ 0.2.9, quantize/quantizer.py, `_compute_best_clip`.
 */
export function clipLimits(
  rows: Tensor,
  grams: Tensor,
  round: Rounding,
  { maxShrink, steps }: ClipSearch = usualClip,
): Tensor {
  const [N] = rows.shape
  const [count, G] = grams.shape
  return scope(() => {
    const groups = groupMajor(wholeGroups(rows, G), G)
    const largest = reduce('absmax', groups)
    const factors = Array.from({ length: Math.floor(maxShrink * steps) }, (_, i) => 1 - i / steps)
    const errors = factors.map((factor) =>
      scope(() => {
        const change = sub(round(clippedRows(groups, mul(largest, factor))), groups)
        const byGroup = change.view([count, N, G])
        return sum(mul(matmul(byGroup, grams), byGroup), [2]).view([1, count * N])
      }),
    )
    const best = argmax(neg(transpose(concat(errors, 0), 0, 1)))
    const table = Tensor.fromArray(rows.device, Float32Array.from(factors), [factors.length, 1])
    const limits = mul(largest, embedding(table, best).view(largest.shape))
    return transpose(limits.view([count, N]), 0, 1)
  })
}

/** Weights cut off at ± the limit of their group of G columns. @param limits [N, groups] float32 */
export function clipped(rows: Tensor, limits: Tensor, G: number): Tensor {
  return scope(() => {
    const padded = wholeGroups(rows, G)
    const groups = clippedRows(padded.view([limits.numel, G]), limits.view([limits.numel]))
    return slice(groups.view(padded.shape), 1, 0, rows.shape[1])
  })
}

/** min(max(w, −limit), limit) row by row, exactly: where a range is symmetric a bit decides on its zero point. */
function clippedRows(rows: Tensor, limits: Tensor): Tensor {
  return scope(() => {
    const limit = expand(limits.view([limits.numel, 1]), rows.shape)
    const below = where(isPositive(sub(rows, limit)), limit, rows)
    const other = neg(limit)
    return where(isPositive(sub(other, below)), other, below)
  })
}

/** 1 where x > 0, else 0. */
function isPositive(x: Tensor): Tensor {
  return encodeRows(x, { scale: Tensor.full(x.device, [], 2 ** -100) }, qint1)
}

/** The groups of all rows as rows, those of the first columns first: [K / G · N, G]. */
function groupMajor(rows: Tensor, G: number): Tensor {
  const [N, K] = rows.shape
  return permute(rows.view([N, K / G, G]), [1, 0, 2]).view([rows.numel / G, G])
}
