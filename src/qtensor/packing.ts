import type { DType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import { Tensor } from '../tensor/tensor.ts'

/**
 * How codes of few bits are packed into words: lines of codes, with how far words and codes of a line, and
 * lines, lie apart. Drawn at kernels/layout/unpackCodes, with the numbers of the formats in use.
 */
export interface Packing {
  readonly bits: number
  readonly wordBytes: 1 | 4
  readonly lines: number
  /** Codes of a line. */
  readonly length: number
  readonly lineWords: number
  readonly stepWords: number
  readonly lineCodes: number
  readonly stepCodes: number
  /** Codes in all: what would lie beyond is passed over. */
  readonly count: number
  /** The code of a word at each of its places; null: in order. */
  readonly order: readonly number[] | null
  /** All words. */
  readonly packedBytes: number
}

/** Codes as a file packs them. */
export interface PackedCodes {
  readonly words: Tensor
  readonly packing: Packing
}

/** Whether the same words hold the same codes. */
export function isSamePacking(a: Packing, b: Packing): boolean {
  return JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort())
}

/** Packed words → codes [count], one byte each. */
export function unpackCodes(packed: Tensor, packing: Packing, dtype: DType = 'uint8'): Tensor {
  const codes = Tensor.empty(packed.device, [packing.count], dtype)
  packed.device.call('unpackCodes', { packed, codes, ...scalarsOf(packed, packing) })
  return codes
}

/** The inverse: codes, one byte each → the words' bytes, uint8. */
export function packCodes(codes: Tensor, packing: Packing): Tensor {
  const packed = Tensor.empty(codes.device, [packing.packedBytes], 'uint8')
  codes.device.call('packCodes', { codes, packed, ...scalarsOf(codes, packing) })
  return packed
}

/**
 * The values of blocks of `blockBytes` bytes that `fields` find there, as kernels/layout/unpackBlocks draws
 * it: as many of each block, in the order of the blocks.
 */
export function unpackBlocks(
  blocks: Tensor,
  fields: Tensor,
  blockBytes: number,
  shape: Shape,
  dtype: DType,
): Tensor {
  const values = Tensor.empty(blocks.device, shape, dtype)
  const count = blocks.numel / blockBytes
  const sizes = { fieldCount: fields.size(0), count, blockBytes, blockValues: values.byteLength / count }
  blocks.device.call('unpackBlocks', { blocks, fields, values, ...sizes })
  return values
}

/**
 * codes [rows, cols] + add, `run` of a row at a time as the digits of one number in base 2^bits, see
 * kernels/quantize/addToCodes; runs of 1: each code modulo 2^bits.
 */
export function addToCodes(codes: Tensor, bits: number, add: number, run = 1): Tensor {
  const y = Tensor.empty(codes.device, codes.shape, 'uint8')
  const cols = codes.size(-1)
  const rows = codes.numel / cols
  if (rows > 0) codes.device.call('addToCodes', { codes, y, bits, add, run, rows, cols })
  return y
}

/**
 * Codes of 1, 2 or 4 bits of rows that lie apart, one over the other in the bits of a byte, the first lowest.
 */
export function splitRows(count: number, cols: number, bits: number): Packing {
  const lines = Math.ceil((count / cols) * (bits / 8)) * cols
  return {
    ...{ bits, wordBytes: 1, lines, length: 8 / bits, lineWords: 1, stepWords: 1 },
    ...{ lineCodes: 1, stepCodes: lines, count, order: null, packedBytes: lines },
  }
}

/**
 * Codes of rows that lie apart, one over the other in a word, the first in the highest bits: of 1, 2 and 4
 * bits in a byte, of 3 bits ten in a word of 32; of others each in a byte.
 */
export function splitRowsDown(count: number, cols: number, bits: number): Packing {
  const perWord = bits === 3 ? 10 : bits < 5 ? 8 / bits : 1
  const lines = Math.ceil(count / cols / perWord) * cols
  const wordBytes = bits === 3 ? 4 : 1
  return {
    ...{ bits: perWord === 1 ? 8 : bits, wordBytes, lines, length: perWord, lineWords: 1, stepWords: 1 },
    ...{ lineCodes: 1, stepCodes: lines, count, packedBytes: lines * wordBytes },
    order: Array.from({ length: perWord }, (_, place) => perWord - 1 - place),
  }
}

/** All codes of 4 bits in a line, two a byte, the first in the high bits. */
export function highFirst(count: number): Packing {
  return {
    ...{ bits: 4, wordBytes: 1, lines: 1, length: count, lineWords: 0, stepWords: 1 },
    ...{ lineCodes: 0, stepCodes: 1, count, order: [1, 0], packedBytes: Math.ceil(count / 2) },
  }
}

/** Rows of codes of 4 bits, two a byte, the first in the low bits; codes [rows, length]. */
export function lowFirst(rows: number, length: number): Packing {
  const lineWords = Math.ceil(length / 2)
  return {
    ...{ bits: 4, wordBytes: 1, lines: rows, length, lineWords, stepWords: 1 },
    ...{ lineCodes: length, stepCodes: 1, count: rows * length, order: null, packedBytes: rows * lineWords },
  }
}

/**
 * A stream of codes down each of `columns` columns of words of 32 bits, lowest bits first; codes [columns,
 * length].
 */
export function wordColumns(columns: number, length: number, bits: number): Packing {
  const packedBytes = 4 * columns * Math.ceil((length * bits) / 32)
  return {
    ...{ bits, wordBytes: 4, lines: columns, length, lineWords: 1, stepWords: columns },
    ...{ lineCodes: length, stepCodes: 1, count: columns * length, order: null, packedBytes },
  }
}

/** The same along each of `rows` rows of words; codes [rows, length]. */
export function wordRows(rows: number, length: number, bits: number): Packing {
  const lineWords = Math.ceil((length * bits) / 32)
  return {
    ...{ bits, wordBytes: 4, lines: rows, length, lineWords, stepWords: 1 },
    ...{
      lineCodes: length,
      stepCodes: 1,
      count: rows * length,
      order: null,
      packedBytes: 4 * rows * lineWords,
    },
  }
}

/** AWQ's words of eight codes of 4 bits, even ones first, along each of `rows` rows; codes [length, rows]. */
export function evenFirstRows(rows: number, length: number): Packing {
  const lineWords = Math.ceil(length / 8)
  return {
    ...{ bits: 4, wordBytes: 4, lines: rows, length, lineWords, stepWords: 1 },
    ...{ lineCodes: 1, stepCodes: rows, count: rows * length },
    ...{ order: [0, 2, 4, 6, 1, 3, 5, 7], packedBytes: 4 * rows * lineWords },
  }
}

function scalarsOf({ device }: Tensor, { packedBytes: _, order, ...scalars }: Packing) {
  return { ...scalars, order: order && Tensor.fromArray(device, Uint8Array.from(order), undefined, 'uint8') }
}
