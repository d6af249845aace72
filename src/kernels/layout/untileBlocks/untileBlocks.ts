import { blockTypeOf, codesAt } from '../tileBlocks/tileBlocks.ts'
import { tileUnpack } from '../tileUnpack/tileUnpack.ts'

/**
 * The inverse of tileBlocks, byte for byte: d is the scale, m the shift with its sign changed.
 * @param codeTiles [rows, cols] tiles of the type's bits
 * @param scaleTiles [rows, cols / 32] float16, tiles of 16 bits
 * @param shiftTiles as the scales; read for Q4_1 and Q5_1 only
 * @param blocks [rows, cols / 32] blocks of ggml's `type`
 */
export function untileBlocks(
  codeTiles: Uint8Array,
  scaleTiles: Uint8Array,
  shiftTiles: Uint8Array | null,
  type: number,
  blocks: Uint8Array,
  rows: number,
  cols: number,
): void {
  const block = blockTypeOf(type)
  const groups = cols / 32
  const codes = new Uint8Array(rows * cols)
  const scale = new Uint8Array(2 * rows * groups)
  const shift = new Uint8Array(2 * rows * groups)
  tileUnpack(codeTiles, codes, block.bits, rows, cols)
  tileUnpack(scaleTiles, scale, 16, rows, groups)
  if (shiftTiles) tileUnpack(shiftTiles, shift, 16, rows, groups)
  for (let i = 0; i < rows * groups; i++) {
    const bytes = blocks.subarray(i * block.bytes, (i + 1) * block.bytes).fill(0)
    bytes.set(scale.subarray(2 * i, 2 * i + 2))
    if (block.multiple === 'minimum') bytes.set([shift[2 * i], shift[2 * i + 1] ^ 0x80], 2)
    const at = codesAt(block)
    for (let c = 0; c < 32; c++) {
      const code = codes[32 * i + c]
      if (block.bits === 8) bytes[at + c] = code
      else bytes[at + (c % 16)] |= (code & 15) << (c < 16 ? 0 : 4)
      if (block.bits === 5) bytes[at - 4 + Math.floor(c / 8)] |= (code >> 4) << (c % 8)
    }
  }
}
