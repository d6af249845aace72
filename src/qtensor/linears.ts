import { adjacentRows } from '../tensor/adjacent.ts'
import { op } from '../tensor/op.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { adjacentWeight } from './adjacent.ts'
import type { ComputeDType } from './computeDtype.ts'
import { linear } from './linear.ts'
import type { QTensor } from './qtensor.ts'
import { tiledRows } from './tiles.ts'

/**
 * y[i] = x · weights[i]ᵀ + biases[i], as `linear`, of one row: one product, where weights and biases lie one
 * behind the other in memory.
 * @param x [..., K] float32, of one row
 * @param weights [N, K] each
 * @param biases [N] each, or null for none
 * @returns [..., N] float32 each; views of one block of memory
 */
export const linears = op(
  'linears(x, weights, biases, computeDtype, outlierThreshold)',
  (
    x: Tensor,
    weights: readonly (Tensor | QTensor)[],
    biases: readonly Tensor[] | null,
    computeDtype: ComputeDType,
    outlierThreshold: number,
  ): Tensor[] =>
    scope(() => {
      const product = (weight: Tensor | QTensor, bias: Tensor | null) =>
        linear(x, weight, bias && cast(bias, 'float32'), computeDtype, outlierThreshold)
      const weight = adjacent(weights)
      const bias = biases && adjacentRows(biases)
      if (!weight || (biases && bias?.numel !== weight.shape[0]))
        return weights.map((one, i) => product(one, biases?.[i] ?? null))
      const y = product(weight, bias)
      const flat = y.view([y.numel])
      let end = 0
      return weights.map((one) => {
        const [rows] = one.shape
        const start = one instanceof Tensor ? end : tiledRows(end)
        end = start + rows
        return flat.rows(start, end).view([...x.shape.slice(0, -1), rows])
      })
    }),
)

function adjacent(weights: readonly (Tensor | QTensor)[]): Tensor | QTensor | null {
  const floats = weights.filter((weight) => weight instanceof Tensor)
  if (floats.length === weights.length) return adjacentRows(floats)
  return floats.length > 0 ? null : adjacentWeight(weights as readonly QTensor[])
}
