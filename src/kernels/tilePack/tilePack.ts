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
 *   Rows are padded to a multiple of 16 and columns to a whole word, with zeros.
 */

/** ⌈rows/16⌉ · 16 · ⌈cols · bits / 32⌉ · 4, the bytes of [rows, cols] codes in tiles. */
export function tileByteLength(bits: number, rows: number, cols: number): number {
  return Math.ceil(rows / 16) * 16 * Math.ceil((cols * bits) / 32) * 4
}

/** The index of the word that holds column `col` of row `row`. */
export function tileWord(bits: number, cols: number, row: number, col: number): number {
  const wordsPerRow = Math.ceil((cols * bits) / 32)
  return (Math.floor(row / 16) * wordsPerRow + Math.floor((col * bits) / 32)) * 16 + (row % 16)
}

/** The lowest bit, within its word, of column `col`. */
export function tileBit(bits: number, col: number): number {
  const code = col % (32 / bits)
  return 8 * (code % 4) + bits * Math.floor(code / 4)
}

/**
 * Moves codes from row-major order into tiles.
 * @param x [rows, cols] one byte a code (bits 2, 4, 8), or four bytes a value (bits 32)
 * @param tiles [tileByteLength(bits, rows, cols)] bytes
 */
export function tilePack(x: Uint8Array, tiles: Uint8Array, bits: number, rows: number, cols: number): void {
  tiles.fill(0, 0, tileByteLength(bits, rows, cols))
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const word = 4 * tileWord(bits, cols, row, col)
      if (bits === 32) {
        for (let i = 0; i < 4; i++) tiles[word + i] = x[4 * (row * cols + col) + i]
      } else {
        const bit = tileBit(bits, col)
        tiles[word + Math.floor(bit / 8)] |= (x[row * cols + col] & (2 ** bits - 1)) << (bit % 8)
      }
    }
  }
}
