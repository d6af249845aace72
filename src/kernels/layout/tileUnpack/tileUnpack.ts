import { placeIn, planesOf, rowByteLength } from '../tilePack/tilePack.ts'

/**
 * The inverse of tilePack: moves codes from tiles into row-major order.
 * @param tiles [tileByteLength(bits, rows, cols)] bytes
 * @param x [rows, cols] one byte a code (bits 1 to 8), two bytes a value (bits 16) or four (bits 32)
 */
export function tileUnpack(tiles: Uint8Array, x: Uint8Array, bits: number, rows: number, cols: number): void {
  const bytes = Math.ceil(bits / 8)
  const rowBytes = rowByteLength(bits, cols)
  x.fill(0, 0, rows * cols * bytes)
  for (const plane of planesOf(bits)) {
    const from = Math.floor(plane.from / 8)
    for (let row = 0; row < rows; row++) {
      for (let col = 0; col < cols; col++) {
        const { byte, bit } = placeIn(plane, bits, rowBytes, row, col)
        const piece = (tiles[byte] >> bit) & (2 ** plane.bits - 1)
        x[bytes * (row * cols + col) + from] |= piece << (plane.from % 8)
      }
    }
  }
}
