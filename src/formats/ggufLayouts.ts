import type { DType } from '../core/dtype.ts'
import { e2m1, iq4_nl, type QType, qint2, qint3, qint4, qint5, qint6, qint8 } from '../core/qtype.ts'
import type { GgufTypeName } from './ggufBlocks.ts'

/**
 * Where some of the small integers of a block lie, or some of their bits: in bytes from `at` on, `bits` of
 * each, as many of a byte as it holds from bit `shift` on. Of `span` bytes the lowest bits come first, then
 * the next:
 *
 *     value first + (n · per + s) · span + l   =   byte at + n · span + l, bits shift + bits · s …
 *
 * l < span, s < per = ⌊(8 − shift) / bits⌋. With bits 0 a byte holds five digits to base 3 (per = 5), the
 * highest first, as a fraction of 256.
 */
export interface BlockField {
  readonly at: number
  readonly bits: number
  readonly span: number
  readonly shift?: number
  /** The first value that it tells of; default 0. */
  readonly first?: number
  /** How many; default: all. */
  readonly count?: number
  /** Which bit of a value its lowest bit is; default 0. */
  readonly from?: number
}

/** Scales or shifts of a block. */
export interface BlockScales {
  /** Of the scales; of codes, where there are values. */
  readonly dtype: DType
  /** Their bytes, or codes. */
  readonly fields: readonly BlockField[]
  /** Where a block has the float16 that its codes are multiplied by; and what codes are. */
  readonly nested?: { readonly at: number; readonly bits: number; readonly zero?: number }
  /** Whether they are minima, that is, shifts with the sign changed. */
  readonly negative?: boolean
}

/** What a block of a row is as a quantized weight. */
export interface BlockLayout {
  readonly type: QType
  /** Values that share a scale. */
  readonly groupSize: number
  /** The code that stands for 0, where it is no shift that moves codes. */
  readonly zeroPoint?: number
  readonly codes: readonly BlockField[]
  readonly scale: BlockScales
  readonly shift?: BlockScales
}

/** A float16 at byte `at`. */
const half = (at: number): BlockScales => ({ dtype: 'float16', fields: [{ at, bits: 8, span: 2 }] })
/** Integers times the float16 at byte `at`. */
const integers = (at: number, bits: number, fields: readonly BlockField[], zero = 0): BlockScales => ({
  dtype: bits === 8 ? 'int8' : 'uint8',
  fields,
  nested: { at, bits, zero },
})
/** The first 16 of 32 values in the low nibbles of 16 bytes, the others in the high ones. */
const nibbles = (at: number): BlockField => ({ at, bits: 4, span: 16 })
/** The fifth bits of 32 values in order, and those of 256 values. */
const fifth = (at: number): BlockField => ({ at, bits: 1, span: 1, from: 4 })
/** Pairs of bits: a byte has those of values that are 32 apart. */
const pairs = (at: number, from = 0): BlockField => ({ at, bits: 2, span: 32, from })

/** The six bits of eight scales, or shifts, of Q4_K: four in a byte, of the others two bits above those. */
const sixBits = (at: number, low: number): BlockField[] => [
  { at, bits: 6, span: 4, count: 4 },
  { at: 12, bits: 4, span: 4, shift: low, first: 4, count: 4 },
  { at, bits: 2, span: 4, shift: 6, first: 4, count: 4, from: 4 },
]

const fourBitsK = {
  groupSize: 32,
  scale: integers(0, 6, sixBits(4, 0)),
  shift: integers(2, 6, sixBits(8, 4)),
}

/**
 * GGUF's block types, each drawn once, for reading and for writing: w = scale · (q − zeroPoint), or scale · q
 * − shift. Codes, scales and values stay as they are.
 * Source: https://github.com/ggml-org/ggml, src/ggml-common.h, and ggml-quants.c, dequantize_row_q4_0 and its
 * neighbours.
 */
export const blockLayouts = {
  // d | nibbles
  Q4_0: { type: qint4, groupSize: 32, zeroPoint: 8, codes: [nibbles(2)], scale: half(0) },
  // d, m | nibbles
  Q4_1: {
    ...{ type: qint4, groupSize: 32, codes: [nibbles(4)] },
    ...{ scale: half(0), shift: { ...half(2), negative: true } },
  },
  // d | 32 high bits | nibbles
  Q5_0: { type: qint5, groupSize: 32, zeroPoint: 16, codes: [nibbles(6), fifth(2)], scale: half(0) },
  // d, m | 32 high bits | nibbles
  Q5_1: {
    ...{ type: qint5, groupSize: 32, codes: [nibbles(8), fifth(4)] },
    ...{ scale: half(0), shift: { ...half(2), negative: true } },
  },
  // d | 32 int8
  Q8_0: { type: qint8, groupSize: 32, codes: [{ at: 2, bits: 8, span: 32 }], scale: half(0) },
  // 16 bytes of a scale and a minimum | pairs | d, dmin
  Q2_K: {
    ...{ type: qint2, groupSize: 16, codes: [pairs(16)] },
    scale: integers(80, 4, [{ at: 0, bits: 4, span: 16, count: 16 }]),
    shift: integers(82, 4, [{ at: 0, bits: 4, span: 16, shift: 4, count: 16 }]),
  },
  // high bits | pairs | 16 scales of 6 bits | d
  Q3_K: {
    ...{
      type: qint3,
      groupSize: 16,
      zeroPoint: 4,
      codes: [pairs(32), { at: 0, bits: 1, span: 32, from: 2 }],
    },
    scale: integers(
      108,
      6,
      [
        { at: 96, bits: 4, span: 8 },
        { at: 104, bits: 2, span: 4, from: 4 },
      ],
      32,
    ),
  },
  // d, dmin | 8 scales and 8 minima of 6 bits | nibbles
  Q4_K: { type: qint4, ...fourBitsK, codes: [{ at: 16, bits: 4, span: 32 }] },
  // d, dmin | 8 scales and 8 minima of 6 bits | high bits | nibbles
  Q5_K: {
    ...{ type: qint5, ...fourBitsK },
    codes: [
      { at: 48, bits: 4, span: 32 },
      { at: 16, bits: 1, span: 32, from: 4 },
    ],
  },
  // nibbles | pairs | 16 int8 scales | d
  Q6_K: {
    ...{ type: qint6, groupSize: 16, zeroPoint: 32, codes: [{ at: 0, bits: 4, span: 64 }, pairs(128, 4)] },
    scale: integers(208, 8, [{ at: 192, bits: 8, span: 16 }]),
  },
  // d | nibbles
  IQ4_NL: { type: iq4_nl, groupSize: 32, codes: [nibbles(2)], scale: half(0) },
  // d | high bits of 8 scales | low bits | nibbles of 32 values each
  IQ4_XS: {
    ...{ type: iq4_nl, groupSize: 32, codes: [nibbles(8)] },
    scale: integers(
      0,
      6,
      [
        { at: 4, bits: 4, span: 1 },
        { at: 2, bits: 2, span: 1, from: 4 },
      ],
      32,
    ),
  },
  // 160, 80 and 16 digits to base 3 | d
  TQ1_0: {
    ...{ type: qint2, groupSize: 256, zeroPoint: 1, scale: half(52) },
    codes: [
      { at: 0, bits: 0, span: 32, count: 160 },
      { at: 32, bits: 0, span: 16, first: 160, count: 80 },
      { at: 48, bits: 0, span: 4, first: 240, count: 16 },
    ],
  },
  // pairs | d
  TQ2_0: { type: qint2, groupSize: 256, zeroPoint: 1, codes: [pairs(0)], scale: half(64) },
  // the exponent of the scale, e8m0 | nibbles
  MXFP4: {
    ...{ type: e2m1, groupSize: 32, codes: [nibbles(1)] },
    scale: { dtype: 'float8_e8m0fnu', fields: [{ at: 0, bits: 8, span: 1 }] },
  },
  // 4 scales, e4m3 without a sign | nibbles of 16 values each
  NVFP4: {
    ...{ type: e2m1, groupSize: 16, codes: [{ at: 4, bits: 4, span: 8 }] },
    scale: { dtype: 'float8_e4m3fn', fields: [{ at: 0, bits: 7, span: 4 }] },
  },
} as const satisfies Partial<Record<GgufTypeName, BlockLayout>>

/** The types that are quantized weights to lowbit. */
export type GgufBlockType = keyof typeof blockLayouts

/** Whether a stored dtype is one of those types. */
export function isGgufBlockType(type: string): type is GgufBlockType {
  return Object.hasOwn(blockLayouts, type)
}

/** The layout of a type. */
export function blockLayout(type: GgufBlockType): BlockLayout {
  return blockLayouts[type]
}

/** Fields as the kernels take them that unpack blocks of so many values: kernels/layout/unpackBlocks. */
export function fieldNumbers(fields: readonly BlockField[], values: number): Int32Array<ArrayBuffer> {
  return Int32Array.from(fields.flatMap((field) => [...runsOf(field, values)].flat()))
}

/** first, step, count, at, shift, bits, from of values that lie one byte apart. */
function* runsOf(field: BlockField, values: number): Generator<number[]> {
  const { at, bits, span, shift = 0, first = 0, count = values, from = 0 } = field
  const per = bits === 0 ? 5 : Math.floor((8 - shift) / bits)
  // A digit's place in its byte counts from 0, its lowest bit from the shift.
  const place = (s: number) => (bits === 0 ? s : shift + bits * s)
  if (span === 1) {
    for (let s = 0; s < per; s++) yield [first + s, per, count / per, at, place(s), bits, from]
    return
  }
  for (let run = 0; run * span < count; run++) {
    const [n, s] = [Math.floor(run / per), run % per]
    yield [first + run * span, 1, span, at + n * span, place(s), bits, from]
  }
}
