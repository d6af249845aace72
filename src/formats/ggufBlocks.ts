import type { FloatDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { decodeFloat, encodeFloat } from '../core/halves.ts'

/**
 * Every tensor type of ggml: its id, the values of a block and the bytes that it takes. A row is whole blocks.
 * Source: https://github.com/ggml-org/ggml, include/ggml.h and src/ggml-common.h.
 */
export const ggufTypes = {
  F32: { id: 0, values: 1, bytes: 4 },
  F16: { id: 1, values: 1, bytes: 2 },
  Q4_0: { id: 2, values: 32, bytes: 18 },
  Q4_1: { id: 3, values: 32, bytes: 20 },
  Q5_0: { id: 6, values: 32, bytes: 22 },
  Q5_1: { id: 7, values: 32, bytes: 24 },
  Q8_0: { id: 8, values: 32, bytes: 34 },
  Q8_1: { id: 9, values: 32, bytes: 36 },
  Q2_K: { id: 10, values: 256, bytes: 84 },
  Q3_K: { id: 11, values: 256, bytes: 110 },
  Q4_K: { id: 12, values: 256, bytes: 144 },
  Q5_K: { id: 13, values: 256, bytes: 176 },
  Q6_K: { id: 14, values: 256, bytes: 210 },
  Q8_K: { id: 15, values: 256, bytes: 292 },
  IQ2_XXS: { id: 16, values: 256, bytes: 66 },
  IQ2_XS: { id: 17, values: 256, bytes: 74 },
  IQ3_XXS: { id: 18, values: 256, bytes: 98 },
  IQ1_S: { id: 19, values: 256, bytes: 50 },
  IQ4_NL: { id: 20, values: 32, bytes: 18 },
  IQ3_S: { id: 21, values: 256, bytes: 110 },
  IQ2_S: { id: 22, values: 256, bytes: 82 },
  IQ4_XS: { id: 23, values: 256, bytes: 136 },
  I8: { id: 24, values: 1, bytes: 1 },
  I16: { id: 25, values: 1, bytes: 2 },
  I32: { id: 26, values: 1, bytes: 4 },
  I64: { id: 27, values: 1, bytes: 8 },
  F64: { id: 28, values: 1, bytes: 8 },
  IQ1_M: { id: 29, values: 256, bytes: 56 },
  BF16: { id: 30, values: 1, bytes: 2 },
  TQ1_0: { id: 34, values: 256, bytes: 54 },
  TQ2_0: { id: 35, values: 256, bytes: 66 },
  MXFP4: { id: 39, values: 32, bytes: 17 },
  NVFP4: { id: 40, values: 64, bytes: 36 },
} as const

export type GgufTypeName = keyof typeof ggufTypes

const typeNames = new Map((Object.keys(ggufTypes) as GgufTypeName[]).map((name) => [ggufTypes[name].id as number, name]))

/** The type of that id; undefined if none is known. */
export function ggufTypeOfId(id: number): GgufTypeName | undefined {
  return typeNames.get(id)
}

/** The types that are plain floats. */
export const ggufDTypes: Partial<Record<GgufTypeName, FloatDType>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }

/** Values that share a scale in the types that `unpackBlocks` takes. */
export const ggufGroupSize = 32

/**
 * The types with one scale per 32 values. A block is a float16 d, then m where there is one, the fifth bits, the codes:
 *
 *     Q4_0   d     ·     ·           q[16]       w = d · (q − 8)
 *     Q4_1   d     m     ·           q[16]       w = d · q + m
 *     Q5_0   d     ·     high[4]     q[16]       w = d · (q − 16)
 *     Q5_1   d     m     high[4]     q[16]       w = d · q + m
 *     Q8_0   d     ·     ·           q[32]       w = d · q, q signed
 *
 * Byte j of 16 holds code j in its low and code j + 16 in its high half; bit j of `high` is the fifth bit of code j.
 */
const layouts = {
  Q4_0: { bits: 4, minimum: false, zero: 8 },
  Q4_1: { bits: 4, minimum: true, zero: 0 },
  Q5_0: { bits: 5, minimum: false, zero: 16 },
  Q5_1: { bits: 5, minimum: true, zero: 0 },
  Q8_0: { bits: 8, minimum: false, zero: 0 },
} as const

export type GgufBlockType = keyof typeof layouts

export function isGgufBlockType(type: GgufTypeName): type is GgufBlockType {
  return Object.hasOwn(layouts, type)
}

/** Blocks taken apart: w = scale · q − shift. */
export interface UnpackedBlocks {
  /** [rows, cols] uint8; of Q8_0 the bits of int8 */
  codes: Uint8Array
  /** [rows, cols/32] float16 */
  scale: Uint16Array
  /** [rows, cols/32] float16: −m, or zero · d, which is exact unless it overflows to infinity; null for Q8_0 */
  shift: Uint16Array | null
}

/**
 * Codes, scales and shifts of [rows, cols] weights in blocks.
 * @throws FormatError if `bytes` are not as many as that takes
 */
export function unpackBlocks(type: GgufBlockType, bytes: Uint8Array, rows: number, cols: number): UnpackedBlocks {
  const { bits, minimum, zero } = layouts[type]
  const blockBytes = ggufTypes[type].bytes
  const blocks = (rows * cols) / ggufGroupSize
  if (cols % ggufGroupSize !== 0 || bytes.length !== blocks * blockBytes) {
    const needed = Math.ceil(cols / ggufGroupSize) * rows * blockBytes
    throw new FormatError(`unpackBlocks: ${type} [${rows},${cols}] takes ${needed} bytes in rows of whole blocks; received ${bytes.length}`)
  }
  const codes = new Uint8Array(rows * cols)
  const scale = new Uint16Array(blocks)
  const shift = bits === 8 ? null : new Uint16Array(blocks)
  const highAt = minimum ? 4 : 2
  const codesAt = bits === 5 ? highAt + 4 : highAt
  for (let block = 0; block < blocks; block++) {
    const at = block * blockBytes
    const first = block * ggufGroupSize
    const d = bytes[at] | (bytes[at + 1] << 8)
    scale[block] = d
    // Negating a float16 flips its sign bit.
    if (shift)
      shift[block] = minimum ? (bytes[at + 2] | (bytes[at + 3] << 8)) ^ 0x8000 : encodeFloat('float16', zero * decodeFloat('float16', d))
    if (bits === 8) {
      for (let j = 0; j < 32; j++) codes[first + j] = bytes[at + codesAt + j]
      continue
    }
    for (let j = 0; j < 16; j++) {
      codes[first + j] = bytes[at + codesAt + j] & 15
      codes[first + j + 16] = bytes[at + codesAt + j] >> 4
    }
    if (bits === 5) for (let j = 0; j < 32; j++) codes[first + j] |= ((bytes[at + highAt + (j >> 3)] >> (j & 7)) & 1) << 4
  }
  return { codes, scale, shift }
}

/** The weights that blocks stand for, [rows · cols] float32, rounded after each operation as ggml does. */
export function dequantizeBlocks(type: GgufBlockType, bytes: Uint8Array, rows: number, cols: number): Float32Array {
  const { codes, scale, shift } = unpackBlocks(type, bytes, rows, cols)
  const signed = new Int8Array(codes.buffer)
  const weights = new Float32Array(codes.length)
  for (let group = 0; group < scale.length; group++) {
    const d = decodeFloat('float16', scale[group])
    const subtracted = shift ? decodeFloat('float16', shift[group]) : 0
    for (let i = group * ggufGroupSize; i < (group + 1) * ggufGroupSize; i++) {
      weights[i] = Math.fround(d * (shift ? codes[i] : signed[i])) - subtracted
    }
  }
  return weights
}
