import type { QType } from '../../core/qtype.ts'
import { addToCodes, type Packing, packCodes } from '../../qtensor/packing.ts'
import { matrixShape, rowBlock, showBlock } from '../../qtensor/parts.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { expand } from '../../tensor/ops/index.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { WeightKind } from './scheme.ts'
import { keepsValues } from './weightKind.ts'

/*
 * What writers of integer codes with integer zero points ask of a weight (GPTQ, AWQ): codes and zero points
 * from 0 up, to which those around 0 are moved.
 */

/** What a format takes. */
export interface IntegerFormat {
  /** `AWQ` */
  readonly name: string
  readonly bits: readonly number[]
}

/** Why a format cannot hold a weight: its codes, its offsets, or what shares a scale; null where it can. */
export function refusedIntegers(weight: WeightKind, { name, bits }: IntegerFormat): string | null {
  const { qtype, shape, block, offset, scaleDtype } = weight
  const integers = `integers of ${bits.join(', ')} bits`
  if (!isInteger(qtype) || !bits.includes(qtype.bits))
    return `it is ${qtype.name}, and ${name} takes ${integers}`
  if (offset !== null && offset !== 'zeroPoint')
    return `it has floats for offsets, and ${name} takes integer zero points`
  if (shape.length !== 2) return `it is of a convolution, and ${name} takes linear layers`
  if (rowBlock(block, shape) === null)
    return `it has ${showBlock(block, shape)}, and ${name} takes groups of a row's columns`
  return scaleDtype === null ? `its scales are quantized once more, and ${name} takes plain ones` : null
}

function isInteger({ values }: QType): boolean {
  return values === 'unsigned' || values === 'signed'
}

/** The middle of the codes from 0 up: what 0 becomes of those around it. */
export function middleOf({ bits }: QType): number {
  return 2 ** (bits - 1)
}

/** Whether all zero points are the middle of the codes. */
export function isSymmetric({ qtype, zeroPoint, offset }: WeightKind): boolean {
  if (offset === null) return !qtype.unsigned
  return zeroPoint === (qtype.unsigned ? middleOf(qtype) : 0)
}

/** The codes [N, K] of a weight as those from 0 up, uint8. */
export function codesFromZero(weight: QTensor): Tensor {
  const { qtype } = weight
  const codes = weight.codes()
  return qtype.unsigned ? codes : addToCodes(codes, qtype.bits, middleOf(qtype))
}

/** The same in words; as they lie in their file, where it packs them so. */
export function packedFromZero(weight: QTensor, packing: Packing): Tensor {
  return weight.qtype.unsigned ? weight.packedCodes(packing) : packCodes(codesFromZero(weight), packing)
}

/** The zero points [N, groups] of codes from 0 up, uint8. */
export function zeroPointsFromZero(weight: QTensor, groups: number): Tensor {
  const { qtype, shape, device } = weight
  const [N] = matrixShape(shape)
  const held = weight.zeroPoint()?.view([N, groups])
  if (held) return qtype.unsigned ? held : addToCodes(held, qtype.bits, middleOf(qtype))
  const zero = qtype.unsigned ? 0 : middleOf(qtype)
  return expand(Tensor.fromArray(device, Uint8Array.of(zero), [1, 1]), [N, groups])
}

/** Columns of a group, and groups of a row, of a weight that is not refused. */
export function groupsIn({ block, shape }: Pick<WeightKind, 'block' | 'shape'>): {
  size: number
  groups: number
} {
  const [, K] = matrixShape(shape)
  const size = Math.min(rowBlock(block, shape) ?? K, K)
  return { size, groups: Math.ceil(K / size) }
}

/** Why its scales are no numbers of a dtype; null where they are. */
export async function misfitScales(weight: QTensor, dtype: 'float16', name: string): Promise<string | null> {
  const scale = weight.scale('float32')
  const kept = await keepsValues(scale, dtype).finally(() => scale.dispose())
  return kept ? null : `its scales are no numbers of ${dtype}, as ${name}'s are`
}
