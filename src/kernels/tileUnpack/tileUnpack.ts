import { tileBit, tileWord } from '../tilePack/tilePack.ts'

/**
 * The inverse of tilePack: moves codes from tiles into row-major order.
 * @param tiles [tileByteLength(bits, rows, cols)] bytes
 * @param x [rows, cols] one byte a code (bits 2, 4, 8), or four bytes a value (bits 32)
 */
export function tileUnpack(tiles: Uint8Array, x: Uint8Array, bits: number, rows: number, cols: number): void {
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const word = 4 * tileWord(bits, cols, row, col)
      if (bits === 32) {
        for (let i = 0; i < 4; i++) x[4 * (row * cols + col) + i] = tiles[word + i]
      } else {
        const bit = tileBit(bits, col)
        x[row * cols + col] = (tiles[word + Math.floor(bit / 8)] >> (bit % 8)) & (2 ** bits - 1)
      }
    }
  }
}
