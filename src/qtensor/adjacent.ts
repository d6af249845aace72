import { adjacentRows, placeAdjacent } from '../tensor/adjacent.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { HeldOffset, HeldScale } from './blockValues.ts'
import { matrixShape, rowBlock, showBlock } from './parts.ts'
import { chooseProduct, giveShifts, zeroShifts } from './product.ts'
import type { QTensor } from './qtensor.ts'
import { tiledRows } from './tiles.ts'

/*
 * Quantized weights of the same facts, whose tiles lie one behind the other in memory, are one weight of all
 * their rows: rows are independent of each other, and tiles hold whole rows.
 */

/** Why the rows of a weight cannot stand beside those of another, in the end of a sentence; null: they can. */
export function standsAlone(weight: QTensor): string | null {
  const { order, block, shape, heldScale, heldOffset } = weight
  if (order) return 'its columns stand in an order of their own'
  if (block.kind === 'tile' || rowBlock(block, shape) === null)
    return `it has ${showBlock(block, shape)}, which reach over rows`
  if ([heldScale, heldOffset].some((held) => held && !isByRow(held)))
    return 'a value of its scales serves all of its rows'
  const { why } = chooseProduct(weight.facts, null, 'float32')
  return why ? `no kernel multiplies it: ${why}` : null
}

/** Whether every value belongs to one row. */
function isByRow(held: HeldScale | HeldOffset): boolean {
  return 'value' in held || 'tensor' in held || (held.shared !== null && held.shared > 0)
}

/** Why two weights cannot be one, in the end of a sentence; null: they can. */
export function differsFrom(weight: QTensor, other: QTensor): string | null {
  const [facts, others] = [factsOf(weight), factsOf(other)]
  const at = facts.findIndex((fact, i) => fact !== others[i])
  return at < 0 ? null : `it has ${facts[at]}, another ${others[at]}`
}

/** What must be the same in weights that are multiplied as one. */
function factsOf({ qtype, shape, dtype, block, heldScale, heldOffset }: QTensor): string[] {
  const [, K] = matrixShape(shape)
  return [
    `${qtype.name} codes`,
    `${K} columns`,
    showBlock(block, shape),
    `weights of ${dtype}`,
    `scales in ${encodingOf(heldScale)}`,
    heldOffset ? `a ${heldOffset.kind} in ${encodingOf(heldOffset)}` : 'no offset',
  ]
}

function encodingOf(held: HeldScale | HeldOffset): string {
  if ('value' in held) return `one code, ${held.value}`
  if ('quotient' in held) return `${held.dtype} divided by ${held.divisor}`
  if ('tensor' in held) return held.dtype
  const { bits, codesDtype, zero, valuesDtype, blockSize } = held
  return `${bits} bits of ${codesDtype} from ${zero} on, times ${valuesDtype} for ${blockSize}`
}

/** Copies of weights that fit each other, one behind the other in memory. */
export function placeWeights(weights: readonly QTensor[]): QTensor[] {
  const places = new Map<Tensor, Tensor>()
  for (const tensors of sideBySide(weights))
    for (const [i, place] of placeAdjacent(tensors).entries()) places.set(tensors[i], place)
  const zeros = allZeroShifts(weights)
  for (const [i, shifts] of placeAdjacent(zeros.map(({ shifts }) => shifts)).entries())
    giveShifts(places.get(zeros[i].zeros) as Tensor, shifts)
  return weights.map((weight) => weight.clone((tensor) => places.get(tensor) as Tensor))
}

/**
 * The weight whose rows are those of all, which lie one behind the other in memory, each from the beginning of
 * a tile on; null where they do not.
 */
export function adjacentWeight(weights: readonly QTensor[]): QTensor | null {
  const [first] = weights
  if (!weights.every((weight) => !standsAlone(weight) && !differsFrom(weight, first))) return null
  const joined = new Map<Tensor, Tensor>()
  for (const tensors of sideBySide(weights)) {
    const rows = adjacentRows(tensors)
    if (!rows) return null
    joined.set(tensors[0], rows)
  }
  const zeros = allZeroShifts(weights)
  const shifts = zeros.length > 0 ? adjacentRows(zeros.map(({ shifts }) => shifts)) : null
  if (shifts) giveShifts(joined.get(zeros[0].zeros) as Tensor, shifts)
  const rows = weights.reduce((sum, { shape }) => tiledRows(sum) + shape[0], 0)
  return first.clone((tensor) => joined.get(tensor) as Tensor, [rows, ...first.shape.slice(1)])
}

function allZeroShifts(weights: readonly QTensor[]) {
  return weights.map(zeroShifts).filter((held) => held !== null)
}

/** The tensors of weights of the same facts: the codes of all, the scales of all … */
function sideBySide(weights: readonly QTensor[]): Tensor[][] {
  const tensors = weights.map((weight) => weight.tensors())
  return tensors[0].map((_, i) => tensors.map((own) => own[i]))
}
