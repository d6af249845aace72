/*
 * Tiles: how devices keep every quantized weight. Exact, and inverted by tileUnpack.
 *
 *   A word is 32 bits of one row: 32/bits codes of consecutive columns, or one float of 32 bits. A tile is the words of 16 rows that
 *   hold the same columns, side by side, so that one load of 64 bytes gives 16 rows in lanes. Tiles follow the columns, then the rows:
 *
 *     word(row, c) = (⌊row/16⌋ · wordsPerRow + c) · 16 + row mod 16        wordsPerRow = ⌈cols · bits / 32⌉
 *
 *     rows 0–15    | c=0: row 0, row 1, … row 15 | c=1: row 0, … row 15 | … | c=wordsPerRow−1 |
 *     rows 16–31   | c=0: row 16, …
 *
 *   Inside a word, code j lies in byte j mod 4 from bit bits·⌊j/4⌋ on, so that one mask takes four consecutive columns as four bytes:
 *
 *            byte 3                byte 2                byte 1                byte 0
 *     int8   | code 3            | code 2            | code 1            | code 0            |
 *     int4   | code 7  | code 3  | code 6  | code 2  | code 5  | code 1  | code 4  | code 0  |    word & 0x0f0f0f0f: columns 0–3
 *     int2   | 15 11 7 3         | 14 10 6 2         | 13 9 5 1          | 12 8 4 0          |    (word >> 2) & 0x03030303: columns 4–7
 *
 *   Codes of other bits are planes of 4, 2 and 1 bits: 3 = 2 + 1, 5 = 4 + 1, 6 = 4 + 2, 7 = 4 + 2 + 1. They take as many words as bits for
 *   32 columns: first those of the plane with the lowest bits, as codes of so few bits would lie, then the next. Of int5 words 0–3 are the
 *   low nibbles of columns 8w … 8w+7, word 4 the high bits, that of column c at bit ⌊c/4⌋ of byte c mod 4. ((high >> i) & 0x01010101) << 4
 *   belongs to the columns 4i … 4i+3:
 *
 *            byte 3                    byte 2                    byte 1                    byte 0
 *     high   | 31 27 23 19 15 11 7 3 | 30 26 22 18 14 10 6 2 | 29 25 21 17 13  9 5 1 | 28 24 20 16 12  8 4 0 |
 *
 *   Values of 16 bits (float16 scales) lie as the words do, 32 bytes for a column of 16 rows.
 *
 *   Rows are padded to a multiple of 16 and columns to a whole word (with several planes: to 32), with zeros.
 */

/** Some bits of codes that lie in words of their own: `bits` of them, from bit `from` of the code on. */
interface Plane {
  bits: number
  from: number
}

/** The planes of codes of 1 to 8 bits, those with the lowest bits first; of values of 16 and 32 their bytes. */
export function planesOf(bits: number): Plane[] {
  if (bits >= 16) return Array.from({ length: bits / 8 }, (_, i) => ({ bits: 8, from: 8 * i }))
  return [8, 4, 2, 1]
    .filter((width) => bits & width)
    .map((width) => ({ bits: width, from: bits & ~(2 * width - 1) }))
}

/** Bytes of one row's `cols` codes (or values) in tiles. */
export function rowByteLength(bits: number, cols: number): number {
  if (bits === 16) return 2 * cols
  const planes = bits < 8 ? planesOf(bits).length : 1
  return planes > 1 ? 4 * bits * Math.ceil(cols / 32) : 4 * Math.ceil((cols * bits) / 32)
}

/** The bytes of [rows, cols] codes of 1 to 8 bits, or values of 16 or 32, in tiles. */
export function tileByteLength(bits: number, rows: number, cols: number): number {
  return Math.ceil(rows / 16) * 16 * rowByteLength(bits, cols)
}

/** The lowest bit of a piece of a code: bit `bit` of byte `byte`. */
interface Place {
  byte: number
  bit: number
}

/** Where the bits of column `col` of row `row` that belong to a plane lie; rows take `rowBytes` each. */
export function placeIn(plane: Plane, bits: number, rowBytes: number, row: number, col: number): Place {
  const tile = Math.floor(row / 16) * 16 * rowBytes
  if (bits >= 16) return { byte: tile + ((16 * col + (row % 16)) * bits + plane.from) / 8, bit: 0 }
  const codes = 32 / plane.bits
  const c = col % 32
  const word = bits * Math.floor(col / 32) + plane.from + Math.floor(c / codes)
  return {
    byte: tile + 4 * (16 * word + (row % 16)) + (c % 4),
    bit: plane.bits * Math.floor((c % codes) / 4),
  }
}

/** Where column `col` of row `row` lies, in a piece for each plane; values of 16 and 32 bits as their bytes. */
export function tilePlaces(bits: number, cols: number, row: number, col: number): (Place & Plane)[] {
  const rowBytes = rowByteLength(bits, cols)
  return planesOf(bits).map((plane) => ({ ...placeIn(plane, bits, rowBytes, row, col), ...plane }))
}

/**
 * Moves codes from row-major order into tiles.
 * @param x [rows, cols] one byte a code (bits 1 to 8), two bytes a value (bits 16) or four (bits 32)
 * @param tiles [tileByteLength(bits, rows, cols)] bytes
 */
export function tilePack(x: Uint8Array, tiles: Uint8Array, bits: number, rows: number, cols: number): void {
  const bytes = Math.ceil(bits / 8)
  const rowBytes = rowByteLength(bits, cols)
  tiles.fill(0, 0, tileByteLength(bits, rows, cols))
  for (const plane of planesOf(bits)) {
    const from = Math.floor(plane.from / 8)
    for (let row = 0; row < rows; row++) {
      for (let col = 0; col < cols; col++) {
        const { byte, bit } = placeIn(plane, bits, rowBytes, row, col)
        const code = x[bytes * (row * cols + col) + from]
        tiles[byte] |= ((code >> (plane.from % 8)) & (2 ** plane.bits - 1)) << bit
      }
    }
  }
}
