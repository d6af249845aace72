import type { FloatDType } from '../core/dtype.ts'
import { ShapeError } from '../core/errors.ts'
import { aFunction, aString, check } from '../core/kinds.ts'
import { aQType, type QType } from '../core/qtype.ts'
import { showShape } from '../core/shape.ts'
import { showBlock } from '../qtensor/parts.ts'
import type { Quantizer, WeightSpec } from '../qtensor/quantizer.ts'
import { decodeRows, encodeRows, type RowScales, roundRows } from '../qtensor/rows.ts'
import { groupsOf } from '../qtensor/weightBlocks.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { checkDType, type Tensor } from '../tensor/tensor.ts'

/** What is chosen for groups: a scale for each, with a shift or a zero point, and if it likes the codes. */
export interface ChosenScales extends RowScales {
  /** [groups, G] one byte each. Where they are absent, w gets the nearest code. */
  codes?: Tensor
}

/**
 * A quantizer that sees a group at a time, nothing but its weights.
 * @param choose takes the weight as a matrix whose rows are the groups, [groups, G] float32, float16 or
 * bfloat16; scales are [groups] in the weight's dtype, or in float32
 */
export function groupQuantizer(
  name: string,
  choose: (groups: Tensor, type: QType) => ChosenScales,
): Quantizer {
  check('groupQuantizer', 'name', name, aString)
  check('groupQuantizer', 'choose', choose, aFunction)
  const chosenFor = (weight: Tensor, { type, block }: WeightSpec) => {
    checkDType(name, 'weight', weight, 'float32', 'float16', 'bfloat16')
    check(name, 'type', type, aQType)
    if (weight.shape.length !== 2)
      throw new ShapeError(`${name}: the weight must be [N,K]; received ${showShape(weight.shape)}`)
    if (block.kind !== 'group')
      throw new ShapeError(
        `${name}: blocks must be groups of columns; received ${showBlock(block, weight.shape)}`,
      )
    const groups = groupsOf(weight, block.size)
    return { groups, ...choose(groups, type) }
  }
  const codesOf = (groups: Tensor, chosen: ChosenScales, type: QType) =>
    chosen.codes ?? encodeRows(cast(groups, chosen.scale.dtype), chosen, type)
  return {
    name,
    solve(weight, spec) {
      const { groups, ...chosen } = chosenFor(weight, spec)
      const { scale, shift, zeroPoint } = chosen
      const [N, K] = weight.shape
      const perGroup = (values: Tensor) => values.view([N, groups.shape[0] / N])
      return {
        ...spec,
        shape: weight.shape,
        dtype: scale.dtype as FloatDType,
        codes: codesOf(groups, chosen, spec.type).view([N, K]),
        scale: { values: perGroup(scale) },
        offset: zeroPoint
          ? { kind: 'zeroPoint', values: perGroup(zeroPoint) }
          : shift
            ? { kind: 'shift', values: perGroup(shift) }
            : null,
      }
    },
    round(weight, spec) {
      const { groups, ...chosen } = chosenFor(weight, spec)
      const onePass = !chosen.codes && !chosen.zeroPoint && chosen.scale.dtype === weight.dtype
      const floats = onePass
        ? roundRows(groups, chosen, spec.type)
        : decodeRows(codesOf(groups, chosen, spec.type), chosen, spec.type)
      return floats.view(weight.shape)
    },
  }
}
