import { tilePlaces } from '../tilePack/tilePack.ts'

/**
 * The inverse of tilePack: moves codes from tiles into row-major order.
 * @param tiles [tileByteLength(bits, rows, cols)] bytes
 * @param x [rows, cols] one byte a code (bits 1 to 8), two bytes a value (bits 16) or four (bits 32)
 */
export function tileUnpack(tiles: Uint8Array, x: Uint8Array, bits: number, rows: number, cols: number): void {
  const bytes = Math.ceil(bits / 8)
  x.fill(0, 0, rows * cols * bytes)
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const at = bytes * (row * cols + col)
      for (const place of tilePlaces(bits, cols, row, col)) {
        const piece = (tiles[place.byte] >> place.bit) & (2 ** place.bits - 1)
        x[at + Math.floor(place.from / 8)] |= piece << (place.from % 8)
      }
    }
  }
}
