import { packCodes } from '../../src/kernels/layout/packCodes/packCodes.ts'
import { unpackCodes } from '../../src/kernels/layout/unpackCodes/unpackCodes.ts'
import { type Packing, splitRows } from '../../src/qtensor/packing.ts'

/*
 * quanto's packing by the kernels' definitions.
 */

function scalars({ bits, wordBytes, lines, length, lineWords, stepWords, ...codes }: Packing) {
  const { lineCodes, stepCodes, count } = codes
  return [bits, wordBytes, lines, length, lineWords, stepWords, lineCodes, stepCodes, count] as const
}

/** codes [rows, cols] → bytes */
export function packRows(codes: Uint8Array, rows: number, cols: number, bits: number): Uint8Array {
  const packing = splitRows(rows * cols, cols, bits)
  const packed = new Uint8Array(packing.packedBytes)
  packCodes(codes, packed, null, ...scalars(packing))
  return packed
}

/** bytes → codes [rows, cols] */
export function unpackRows(packed: Uint8Array, rows: number, cols: number, bits: number): Uint8Array {
  const packing = splitRows(rows * cols, cols, bits)
  const codes = new Uint8Array(packing.count)
  unpackCodes(packed, codes, null, ...scalars(packing))
  return codes
}
