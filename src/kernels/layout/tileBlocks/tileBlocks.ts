import { DTypeError } from '../../../core/errors.ts'
import { decodeFloat, encodeFloat } from '../../../core/halves.ts'
import { tilePack } from '../tilePack/tilePack.ts'

/**
 * What a GGUF block of 32 columns is as scale, shift and codes: w = scale · q − shift.
 *
 *            bytes                                                      scale   shift   bits of q
 *     Q4_0   d float16 | 16 bytes of nibbles                            d       8·d     4
 *     Q4_1   d, m float16 | nibbles                                     d       −m      4
 *     Q5_0   d float16 | 32 high bits | nibbles                         d       16·d    5
 *     Q5_1   d, m float16 | 32 high bits | nibbles                      d       −m      5
 *     Q8_0   d float16 | 32 int8                                        d       none    8
 *
 * Byte j of the nibbles holds column j (low) and column j + 16 (high); bit j of the high bits belongs to
 * column j.
 * Source: ggml, ggml-quants.c, dequantize_row_q4_0 and its neighbours.
 */
export interface BlockType {
  /** ggml's number of the type. */
  type: number
  bytes: number
  bits: 4 | 5 | 8
  /** shift = multiple · d, or −m where there is one; 0: none. */
  multiple: 0 | 8 | 16 | 'minimum'
}

export const blockTypes = {
  Q4_0: { type: 2, bytes: 18, bits: 4, multiple: 8 },
  Q4_1: { type: 3, bytes: 20, bits: 4, multiple: 'minimum' },
  Q5_0: { type: 6, bytes: 22, bits: 5, multiple: 16 },
  Q5_1: { type: 7, bytes: 24, bits: 5, multiple: 'minimum' },
  Q8_0: { type: 8, bytes: 34, bits: 8, multiple: 0 },
} as const satisfies Record<string, BlockType>

/**
 * The block type of ggml's number `type`.
 * @throws DTypeError if it is none of these.
 */
export function blockTypeOf(type: number): BlockType {
  const found = Object.values(blockTypes).find((block) => block.type === type)
  if (found) return found
  throw new DTypeError(`block type: must be 2, 3, 6, 7 or 8 (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0); received ${type}`)
}

/** Where the codes of a block begin; before them the high bits of a 5-bit type, before those d and m. */
export function codesAt({ bits, multiple }: BlockType): number {
  return (multiple === 'minimum' ? 4 : 2) + (bits === 5 ? 4 : 0)
}

/**
 * GGUF blocks into tiles: codes, and a float16 scale and shift for each group of 32 columns.
 *
 * Exact as long as 8·d (16·d) is a float16, |d| < 8188 (4094); untileBlocks gives back every byte.
 * @param blocks [rows, cols / 32] blocks of ggml's `type`
 * @param codeTiles [rows, cols] tiles of the type's bits
 * @param scaleTiles [rows, cols / 32] float16, tiles of 16 bits
 * @param shiftTiles as the scales; absent for Q8_0
 */
export function tileBlocks(
  blocks: Uint8Array,
  type: number,
  codeTiles: Uint8Array,
  scaleTiles: Uint8Array,
  shiftTiles: Uint8Array | null,
  rows: number,
  cols: number,
): void {
  const block = blockTypeOf(type)
  const groups = cols / 32
  const codes = new Uint8Array(rows * cols)
  const scale = new Uint16Array(rows * groups)
  const shift = new Uint16Array(rows * groups)
  for (let i = 0; i < rows * groups; i++) {
    const bytes = blocks.subarray(i * block.bytes, (i + 1) * block.bytes)
    const half = (at: number) => bytes[at] | (bytes[at + 1] << 8)
    scale[i] = half(0)
    // float16 changes its sign by its highest bit.
    if (block.multiple === 'minimum') shift[i] = half(2) ^ 0x8000
    else shift[i] = encodeFloat('float16', block.multiple * decodeFloat('float16', half(0)))
    for (let c = 0; c < 32; c++) codes[32 * i + c] = codeOf(bytes, block, c)
  }
  tilePack(codes, codeTiles, block.bits, rows, cols)
  tilePack(new Uint8Array(scale.buffer), scaleTiles, 16, rows, groups)
  if (shiftTiles) tilePack(new Uint8Array(shift.buffer), shiftTiles, 16, rows, groups)
}

function codeOf(bytes: Uint8Array, block: BlockType, c: number): number {
  const at = codesAt(block)
  if (block.bits === 8) return bytes[at + c]
  const low = c < 16 ? bytes[at + c] & 15 : bytes[at + c - 16] >> 4
  const high = block.bits === 5 ? (bytes[at - 4 + Math.floor(c / 8)] >> (c % 8)) & 1 : 0
  return low | (high << 4)
}
