import { atLeast } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { permuteColumns } from '../qtensor/permuteColumns.ts'
import type { Quantizer, Statistics } from '../qtensor/quantizer.ts'
import { add, div, matmul, mul, sub, transpose } from '../tensor/ops/index.ts'
import { matmulTransposed } from '../tensor/ops/matmulTransposed.ts'
import type { Tensor } from '../tensor/tensor.ts'
import {
  type ColumnSolver,
  collectHessian,
  type GptqQuantizerOptions,
  gptqKinds,
  gptqQuantizer,
  solveColumns,
  solverOf,
} from './gptqQuantizer.ts'

/** How GPTAQ solves layers. */
export interface GptaqQuantizerOptions extends GptqQuantizerOptions {
  /** How much of what inputs have drifted away from the float model's is made up for. Default 0.25. */
  alpha?: number
}

/** What the options may be. */
export const gptaqKinds: OptionKinds<GptaqQuantizerOptions> = { ...gptqKinds, alpha: atLeast(0) }

/**
 * GPTAQ: GPTQ that comes close to what the float layer gives for the float model's inputs X, not for those X̃
 * that it has behind quantized layers. Each column is moved towards it with what it still weighs:
 *
 *     w[j] ← w[j] + w[i]·P[i, j],  P = α · U(Δ·F) · Fᵀ,  Δ = 2/n Σ (x − x̃)·x̃ᵀ,  U what lies above the diagonal
 *
 * Source: Li et al., "GPTAQ: Efficient Finetuning-Free Quantization for Asymmetric Calibration", 2025;
 * GPTQModel 7.7, quantization/gptaq.py, which moves columns outside of a block by what they weigh once they
 * are rounded.
 * @throws ShapeError or DTypeError for options that there are not
 */
export function gptaqQuantizer(options: GptaqQuantizerOptions = {}): Quantizer {
  checkOptions('gptaqQuantizer', options, gptaqKinds)
  const { alpha = 0.25, ...gptq } = options
  return {
    ...gptqQuantizer(gptq),
    name: 'gptaq',
    roundsScalesLast: true,
    seesFloat: true,
    collects(x, statistics, float) {
      if (float) collectDrift(x, float, statistics)
      collectHessian(x, statistics)
    },
    solve(weight, spec, statistics) {
      const solver = solverOf(statistics, spec, gptq)
      const [drift, rows] = [statistics?.get('drift'), statistics?.get('rows')]
      if (!solver || !drift || !rows) return solveColumns(weight, spec, gptq, solver)
      const mean = mul(drift, div(2, rows))
      return solveColumns(weight, spec, gptq, { ...solver, drift: movesOf(mean, solver, alpha) })
    },
  }
}

/** Adds to `drift` [K, K], the sum of (x − x̃)·x̃ᵀ over all rows. */
function collectDrift(x: Tensor, float: Tensor, statistics: Statistics): void {
  const more = matmul(transpose(sub(float, x), 0, 1), x)
  const before = statistics.get('drift')
  statistics.set('drift', before ? add(before, more) : more)
}

/** [K, K], Pᵀ of the columns in the order in which they are solved. */
function movesOf(drift: Tensor, { order, factor }: ColumnSolver, alpha: number): Tensor {
  const [K] = drift.shape
  const columns = transpose(permuteColumns(drift, order), 0, 1)
  const ordered = transpose(permuteColumns(columns, order), 0, 1)
  const above = matmul(ordered, factor)
  drift.device.call('aboveDiagonal', { x: above, cols: K })
  return mul(matmulTransposed(factor, above), alpha)
}
