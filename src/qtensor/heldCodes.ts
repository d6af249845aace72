import { ShapeError } from '../core/errors.ts'
import type { QType } from '../core/qtype.ts'
import type { Shape } from '../core/shape.ts'
import { Tensor } from '../tensor/tensor.ts'
import { isSamePacking, type PackedCodes, type Packing, packCodes, unpackCodes } from './packing.ts'
import { matrixShape } from './parts.ts'
import { packTiles, unpackTiles } from './tiles.ts'

/**
 * How codes are to be held: in tiles, which products take; in the words of a file, if it gave such; not at
 * all.
 */
export type CodesForm = 'tiles' | 'words' | 'none'

/** Codes as a weight holds them: tiles, uint8; words; null: none. */
export type HeldCodes = Tensor | PackedCodes | null

function isPacked(codes: HeldCodes): codes is PackedCodes {
  return codes !== null && !(codes instanceof Tensor)
}

/** Codes [N, K] of a weight, one byte each. */
export function codesIn(codes: Tensor | PackedCodes, shape: Shape): Tensor {
  if (codes instanceof Tensor) return codes
  return unpackCodes(codes.words, codes.packing).view(matrixShape(shape))
}

/** Codes [N, K] of one byte, or packed, as they are to be held; tensors of their own. */
export function holdCodes(codes: HeldCodes, { bits }: QType, shape: Shape, form: CodesForm): HeldCodes {
  if (!isPacked(codes)) return codes && packTiles(codes, bits)
  if (form === 'words') return cloneCodes(codes, (words) => words.clone())
  return packTiles(codesIn(codes, shape), bits)
}

/** @throws ShapeError unless codes lie in tiles */
export function tilesOf(held: HeldCodes): Tensor {
  if (held instanceof Tensor) return held
  throw new ShapeError(
    `QTensor: codes must lie in tiles; they ${held ? "lie in a file's words" : 'were not read'}`,
  )
}

/** The inverse of `holdCodes`: [N, K], one byte each. */
export function plainCodes(held: HeldCodes, { bits, dtype }: QType, shape: Shape): Tensor {
  const [N, K] = matrixShape(shape)
  if (isPacked(held)) return unpackCodes(held.words, held.packing, dtype).view([N, K])
  return unpackTiles(tilesOf(held), bits, N, K, dtype)
}

/** Codes in words; where they are held so, a copy of those. */
export function wordsOf(held: HeldCodes, type: QType, shape: Shape, packing: Packing): Tensor {
  if (isPacked(held) && isSamePacking(held.packing, packing)) return held.words.clone()
  return packCodes(plainCodes(held, type, shape), packing)
}

/** A copy, its tensor made by `copy`. */
export function cloneCodes(held: HeldCodes, copy: (tensor: Tensor) => Tensor): HeldCodes {
  return isPacked(held) ? { ...held, words: copy(held.words) } : held && copy(held)
}

/** The tensors that hold codes. */
export function codeTensors(held: HeldCodes): Tensor[] {
  if (isPacked(held)) return [held.words]
  return held ? [held] : []
}
