import { type DType, dtypes } from '../core/dtype.ts'
import { tileByteLength } from '../kernels/layout/tilePack/tilePack.ts'
import { checkShape, Tensor } from '../tensor/tensor.ts'

/*
 * The device packing of every quantized weight: rows in lanes, so that one 64-byte load serves sixteen
 * outputs. The layout is drawn at kernels/layout/tilePack. It keeps the exact bits and has an inverse.
 */

/** Rows that a tile holds; the last ones of a matrix are filled up with zeros. */
export const tileRows = 16

/** Rows that as many take in tiles. */
export function tiledRows(rows: number): number {
  return Math.ceil(rows / tileRows) * tileRows
}

/** Bytes of a [rows, cols] matrix of `bits`-bit codes (or values of 16 or 32 bits) in tiles. */
export function tileBytes(rows: number, cols: number, bits: number): number {
  return tileByteLength(bits, rows, cols)
}

/** x [rows, cols] → tiles: codes of one byte each of 1 to 8 bits, or values of 8, 16 or 32 bits. */
export function packTiles(x: Tensor, bits = 8 * dtypes[x.dtype].bytes): Tensor {
  const [rows, cols] = x.shape
  const tiles = Tensor.empty(x.device, [tileBytes(rows, cols, bits)], 'uint8')
  x.device.call('tilePack', { x, tiles, bits, rows, cols })
  return tiles
}

/**
 * Lays x [rows, cols] into the tiles of a matrix of as many columns, from row `first`, a multiple of 16, on.
 */
export function packTileRows(x: Tensor, tiles: Tensor, bits: number, first: number): void {
  const [rows, cols] = x.shape
  const part = tiles.rows(tileBytes(first, cols, bits), tileBytes(first + rows, cols, bits))
  x.device.call('tilePack', { x, tiles: part, bits, rows, cols })
}

/** The inverse: tiles → [rows, cols] of `dtype`. */
export function unpackTiles(tiles: Tensor, bits: number, rows: number, cols: number, dtype: DType): Tensor {
  checkShape('unpackTiles', 'tiles', tiles, [tileBytes(rows, cols, bits)])
  const x = Tensor.empty(tiles.device, [rows, cols], dtype)
  tiles.device.call('tileUnpack', { tiles, x, bits, rows, cols })
  return x
}
