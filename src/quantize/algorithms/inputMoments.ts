import {
  abs,
  add,
  columnSum,
  concat,
  div,
  expand,
  permute,
  slice,
  transpose,
} from '../../tensor/ops/index.ts'
import { gemm } from '../../tensor/ops/matmulTransposed.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'

/** Sums over the rows that layers multiply. */
export class InputMoments {
  /** Columns whose products are summed: a group, or all of them; null: none. */
  readonly groupSize: number | null
  rows = 0
  /** Σ |x|, [K] float32 */
  magnitudes: Tensor | null = null
  /** Σ xᵀ · x of the columns of each group, [K / G, G, G] float32 */
  grams: Tensor | null = null

  constructor(groupSize: number | null) {
    this.groupSize = groupSize
  }

  /** @param x [M, K] float32 */
  add(x: Tensor): void {
    const [M, K] = x.shape
    const { groupSize: G } = this
    scope(() => {
      this.rows += M
      this.magnitudes = replaced(this.magnitudes, columnSum(abs(x), 1))
      if (G === null) return
      const padded = wholeGroups(x, G)
      const groups =
        G === K ? x.view([1, M, K]) : permute(padded.view([M, padded.shape[1] / G, G]), [1, 0, 2])
      const grams = gemm(groups, groups, { aTransposed: true })
      this.grams = replaced(this.grams, grams)
    })
  }

  /**
   * The sums of products of groups of G columns, each divided by its factor; of the running scope.
   * @param factors [K] float32
   * @returns [K / G, G, G] float32; null where there are none
   */
  gramsOf(G: number, factors?: Tensor): Tensor | null {
    const { grams, groupSize } = this
    if (!grams || !groupSize) return null
    const all = groupSize === G ? grams : diagonalBlocks(grams.view([groupSize, groupSize]), G)
    if (!factors) return all
    const count = all.shape[0]
    const padding = Tensor.full(factors.device, [count * G - factors.numel], 1)
    const each = concat([factors, padding], 0)
    const [down, across] = [each.view([count, G, 1]), each.view([count, 1, G])]
    return div(div(all, expand(down, all.shape)), expand(across, all.shape))
  }

  dispose(): void {
    this.magnitudes?.dispose()
    this.grams?.dispose()
  }
}

/** The blocks [G, G] along the diagonal of a matrix, the last filled with zeros where it is short. */
function diagonalBlocks(matrix: Tensor, G: number): Tensor {
  const K = matrix.shape[0]
  const blocks: Tensor[] = []
  for (let start = 0; start < K; start += G) {
    const end = Math.min(start + G, K)
    const block = slice(slice(matrix, 0, start, end), 1, start, end)
    blocks.push(transpose(wholeGroups(transpose(wholeGroups(block, G), 0, 1), G), 0, 1).view([1, G, G]))
  }
  return concat(blocks, 0)
}

/** x [M, K] with columns of zeros behind, up to whole groups of G. */
export function wholeGroups(x: Tensor, G: number): Tensor {
  const [M, K] = x.shape
  return K % G === 0 ? x : concat([x, Tensor.full(x.device, [M, G - (K % G)], 0)], 1)
}

function replaced(sum: Tensor | null, part: Tensor): Tensor {
  const total = keep(sum ? add(sum, part) : part)
  sum?.dispose()
  return total
}
