import { ShapeError } from '../core/errors.ts'
import { showShape } from '../core/shape.ts'
import { op } from '../tensor/op.ts'
import { matmulInto } from '../tensor/ops/matmulTransposed.ts'
import { scope } from '../tensor/scope.ts'
import { checkDType, Tensor } from '../tensor/tensor.ts'
import type { ComputeDType } from './computeDtype.ts'
import { quantizedLinearInto } from './linear.ts'
import { matrixShape } from './parts.ts'
import { chooseProduct } from './product.ts'
import type { QTensor } from './qtensor.ts'

/** A weight of one group of rows, and how it is multiplied. */
export interface GroupWeight {
  /** [N, K] */
  weight: Tensor | QTensor
  /** [N] float32, or null */
  bias: Tensor | null
  computeDtype: ComputeDType
}

/**
 * y[i] = x[i] · w[g]ᵀ + bias[g] for the rows i of each group g: bounds[g] … bounds[g + 1] − 1. Which rows
 * those are is read from the device's memory when the kernels run; a weight whose group is empty is not read.
 * Gradients do not pass.
 * @param x [rows, K] float32, by group
 * @param weights as many as there are groups, of one shape
 * @param bounds [groups + 1] int32, from 0 to the number of rows
 * @returns [rows, N] float32
 */
export function groupedLinear(x: Tensor, groups: readonly GroupWeight[], bounds: Tensor): Tensor {
  return product(
    x,
    groups.map(({ weight }) => weight),
    groups.map(({ bias }) => bias),
    bounds,
    groups.map(({ computeDtype }) => computeDtype),
  )
}

const product = op(
  'groupedLinear(x, weights, biases, bounds, computeDtypes)',
  (
    x: Tensor,
    weights: readonly (Tensor | QTensor)[],
    biases: readonly (Tensor | null)[],
    bounds: Tensor,
    computeDtypes: readonly ComputeDType[],
  ): Tensor => {
    checkDType('groupedLinear', 'x', x, 'float32')
    checkDType('groupedLinear', 'bounds', bounds, 'int32')
    const [N, K] = matrixShape(weights[0].shape)
    const M = x.numel / K
    const y = Tensor.empty(x.device, [M, N])
    if (M === 0) return y
    for (const [g, w] of weights.entries()) {
      const shape = matrixShape(w.shape)
      if (shape[0] !== N || shape[1] !== K || x.size(-1) !== K)
        throw new ShapeError(
          `groupedLinear: weights must be alike, with as many columns as x; x ${showShape(x.shape)}, weight ${g} ${showShape(w.shape)}, the first ${showShape(weights[0].shape)}`,
        )
      const into = { bias: biases[g], y, M, N, K, span: bounds.rows(g, g + 2) }
      scope(() => {
        if (w instanceof Tensor) matmulInto(x, w, into)
        else quantizedLinearInto(x, w, chooseProduct(w.facts, null, computeDtypes[g]), into)
      })
    }
    return y
  },
)
