import { DTypeError, FormatError, ShapeError } from '../../core/errors.ts'

/**
 * Packs codes of 2 or 4 bits. The rows are dealt into 8/bits slices of R = ceil(rows·bits/8); a byte holds
 * one code of each, the first slice in its lowest bits; rows beyond the last are 0. Five rows of 4 bits make
 * R = 3:
 *
 *     byte row 0    row 3 · row 0        bits 7..4 · bits 3..0
 *     byte row 1    row 4 · row 1
 *     byte row 2      0   · row 2
 *
 * codes [rows, cols] uint8 → [R, cols] uint8
 * Source: optimum-quanto, tensor/packed.py, `pack_weights`.
 * @throws ShapeError if there are not rows·cols codes, FormatError if one does not fit its bits.
 */
export function packRows(codes: Uint8Array, rows: number, cols: number, bits: number): Uint8Array {
  checkBits('packRows', bits)
  if (codes.length !== rows * cols)
    throw new ShapeError(`packRows: codes must number ${rows} · ${cols}; received ${codes.length}`)
  const slice = Math.ceil((rows * bits) / 8) * cols
  const packed = new Uint8Array(slice)
  for (let i = 0; i < codes.length; i++) {
    if (codes[i] >> bits)
      throw new FormatError(`packRows: codes must fit in ${bits} bits; received ${codes[i]} at ${i}`)
    packed[i % slice] |= codes[i] << (bits * Math.floor(i / slice))
  }
  return packed
}

/**
 * The inverse of `packRows`: bytes [ceil(rows·bits/8), cols] uint8 → codes [rows, cols] uint8.
 * @throws ShapeError if the bytes are not that many.
 */
export function unpackRows(packed: Uint8Array, rows: number, cols: number, bits: number): Uint8Array {
  checkBits('unpackRows', bits)
  const slice = Math.ceil((rows * bits) / 8) * cols
  if (packed.length !== slice)
    throw new ShapeError(
      `unpackRows: ${rows} rows of ${cols} codes must take ${slice} bytes; received ${packed.length}`,
    )
  const mask = (1 << bits) - 1
  const codes = new Uint8Array(rows * cols)
  for (let i = 0; i < codes.length; i++)
    codes[i] = (packed[i % slice] >> (bits * Math.floor(i / slice))) & mask
  return codes
}

function checkBits(operation: string, bits: number): void {
  if (bits !== 2 && bits !== 4)
    throw new DTypeError(`${operation}: quanto packs codes of 2 or 4 bits; received ${bits}`)
}
