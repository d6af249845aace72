import type { FloatDType } from '../core/dtype.ts'
import { DTypeError, ShapeError } from '../core/errors.ts'
import { aFunction, aString, check } from '../core/kinds.ts'
import { aQType, type QType } from '../core/qtype.ts'
import { type Shape, showShape } from '../core/shape.ts'
import { type Block, blocksShape, groupSizeOf, matrixShape, showBlock } from '../qtensor/parts.ts'
import type { Quantizer, WeightSpec } from '../qtensor/quantizer.ts'
import { decodeRows, encodeRows, type RowScales, roundRows } from '../qtensor/rows.ts'
import { fromTiles, groupsOf, tilesOf } from '../qtensor/weightBlocks.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { checkDType, type Tensor } from '../tensor/tensor.ts'

/** What is chosen for groups: a scale for each, with a shift or a zero point, and if it likes the codes. */
export interface ChosenScales extends RowScales {
  /** [groups, G] one byte each. Where they are absent, w gets the nearest code. */
  codes?: Tensor
}

/**
 * A quantizer that sees a group at a time, nothing but its weights.
 * @param choose takes the weight as a matrix whose rows are the groups, or the tiles, [groups, G] float32,
 * float16 or bfloat16; scales are [groups] in the weight's dtype, or in float32. Where the last group of a row
 * may be short, zeros fill it up, which must change nothing.
 */
export function groupQuantizer(
  name: string,
  choose: (groups: Tensor, type: QType, spec: WeightSpec) => ChosenScales,
  traits: Pick<Quantizer, 'shortGroups'> = {},
): Quantizer {
  check('groupQuantizer', 'name', name, aString)
  check('groupQuantizer', 'choose', choose, aFunction)
  const chosenFor = (weight: Tensor, spec: WeightSpec) => {
    checkDType(name, 'weight', weight, 'float32', 'float16', 'bfloat16')
    check(name, 'type', spec.type, aQType)
    if (weight.shape.length !== 2)
      throw new ShapeError(`${name}: the weight must be [N,K]; received ${showShape(weight.shape)}`)
    const { scaleDtype } = spec
    const groups = asRows(name, scaleDtype ? cast(weight, 'float32') : weight, spec.block)
    const chosen = choose(groups, spec.type, spec)
    if (spec.zeroPoints && !chosen.zeroPoint)
      throw new DTypeError(
        `${name}: zero points must be among what it chooses; it has none for ${spec.type.name}`,
      )
    if (!scaleDtype) return { groups, stored: chosen, chosen }
    if (chosen.codes)
      throw new DTypeError(
        `${name}: scaleDtype must be left out where a quantizer chooses codes; received ${scaleDtype}`,
      )
    const stored = mapFloats(chosen, (values) => cast(values, scaleDtype))
    return { groups, stored, chosen: mapFloats(stored, (values) => cast(values, 'float32')) }
  }
  const codesOf = (groups: Tensor, chosen: ChosenScales, type: QType) =>
    chosen.codes ?? encodeRows(cast(groups, chosen.scale.dtype), chosen, type)
  return {
    name,
    ...traits,
    solve(weight, spec) {
      const { groups, stored, chosen } = chosenFor(weight, spec)
      const { scale, shift, zeroPoint } = stored
      const blocks = blocksShape(spec.block, weight.shape)
      return {
        type: spec.type,
        block: spec.block,
        shape: weight.shape,
        dtype: chosen.scale.dtype as FloatDType,
        codes: fromRows(codesOf(groups, chosen, spec.type), spec.block, weight.shape),
        scale: { values: scale.view(blocks) },
        offset: zeroPoint
          ? { kind: 'zeroPoint', values: zeroPoint.view(blocks) }
          : shift
            ? { kind: 'shift', values: shift.view(blocks) }
            : null,
      }
    },
    round(weight, spec) {
      const { groups, chosen } = chosenFor(weight, spec)
      const onePass = !chosen.codes && !chosen.zeroPoint && chosen.scale.dtype === groups.dtype
      const floats = onePass
        ? roundRows(groups, chosen, spec.type)
        : decodeRows(codesOf(groups, chosen, spec.type), chosen, spec.type)
      return fromRows(floats, spec.block, weight.shape)
    },
  }
}

function mapFloats({ scale, shift, ...others }: ChosenScales, f: (values: Tensor) => Tensor): ChosenScales {
  return { ...others, scale: f(scale), shift: shift && f(shift) }
}

/** A weight as a matrix with a row for each block. */
function asRows(name: string, weight: Tensor, block: Block): Tensor {
  if (isWhole(block, weight.shape)) return groupsOf(weight, groupSizeOf(block))
  if (block.kind === 'group' || block.kind === 'tile') return tilesOf(weight, tileOf(block))
  throw new ShapeError(
    `${name}: blocks must be groups of columns, or tiles; received ${showBlock(block, weight.shape)}`,
  )
}

function fromRows(rows: Tensor, block: Block, shape: Shape): Tensor {
  return isWhole(block, shape) ? rows.view(shape) : fromTiles(rows, tileOf(block as Groups), shape)
}

type Groups = Extract<Block, { kind: 'group' | 'tile' }>

/** Whether these are groups that divide the columns. */
function isWhole(block: Block, shape: Shape): boolean {
  return block.kind === 'group' && matrixShape(shape)[1] % block.size === 0
}

/** Groups are tiles of one row, the last of which is filled up with zeros. */
function tileOf(block: Groups): Extract<Block, { kind: 'tile' }> {
  return block.kind === 'tile' ? block : { kind: 'tile', rows: 1, columns: block.size }
}
