import { DTypeError, ShapeError } from '../core/errors.ts'
import { qint2 } from '../core/qtype.ts'
import { matrixShape, showBlock } from '../qtensor/parts.ts'
import type { Quantizer } from '../qtensor/quantizer.ts'
import { ternaryParts, ternaryZero } from '../qtensor/ternary.ts'

/**
 * BitNet's weights: −1, 0 or 1 times the mean magnitude of the whole weight, and inputs of int8 in every pass.
 * Its options are `weights: 'int2', groupSize: null, blockRows: null`.
 */
export const ternary: Quantizer = {
  name: 'ternary',
  types: [qint2],
  zeroPoint: ternaryZero,
  computeDtype: 'int8AbsmaxPerToken',
  solve(weight, { type, block }) {
    const [rows, columns] = matrixShape(weight.shape)
    if (type !== qint2) throw new DTypeError(`ternary: the type must be int2; received ${type.name}`)
    if (block.kind !== 'tile' || block.rows !== rows || block.columns !== columns)
      throw new ShapeError(
        `ternary: one scale must serve the weight (groupSize: null, blockRows: null); received ${showBlock(block, weight.shape)}`,
      )
    return ternaryParts(weight)
  },
}
