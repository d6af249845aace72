import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, toNumbers } from '../../../core/halves.ts'
import { squareSum } from './fits.ts'
import { levelBlock, levelSuperBlock } from './levels.ts'
import { affineBlock, byteBlock, microBlock, symmetricBlock } from './plainBlocks.ts'
import { affineSuperBlock, superBlock3, superBlock6, ternarySuperBlock } from './superBlocks.ts'

/** What a block becomes: views of the outputs. */
export interface BlockParts {
  readonly codes: Uint8Array
  readonly scale: Uint8Array
  readonly shift: Uint8Array
  readonly scaleCodes: Uint8Array
  readonly shiftCodes: Uint8Array
}

/** How one block is encoded: its values, their importance if it is known, and Σ x² / cols of the row. */
type Encode = (x: Float32Array, importance: Float32Array | null, variance: number, to: BlockParts) => void

/** A type whose blocks are encoded. */
export interface EncodedType {
  /** ggml's number of the type. */
  readonly type: number
  /** Columns of a block. */
  readonly block: number
  /** Columns that share a code of a scale; 0 where scales are no codes. */
  readonly group: number
  readonly scaleBytes: 1 | 2
  readonly shift: boolean
  readonly encode: Encode
}

const plain = (type: number, shift: boolean, encode: Encode, scaleBytes: 1 | 2 = 2): EncodedType => {
  return { type, block: 32, group: 0, scaleBytes, shift, encode }
}
const nested = (type: number, group: number, shift: boolean, encode: Encode): EncodedType => {
  return { type, block: 256, group, scaleBytes: 2, shift, encode }
}

/**
 * What the values of a block are, with d and dmin its float16 numbers, and s and m small integers of each of
 * its groups:
 *
 *            w                       q            columns of a group   codes of s, m
 *     Q4_0   d·(q − 8)               0 … 15       block of 32
 *     Q4_1   d·q − (−m)              0 … 15       block of 32
 *     Q5_0   d·(q − 16)              0 … 31       block of 32
 *     Q5_1   d·q − (−m)              0 … 31       block of 32
 *     Q8_0   d·q                     −127 … 127   block of 32
 *     IQ4_NL d·level[q]              0 … 15       block of 32
 *     MXFP4  2^(e−127)·e2m1[q]       0 … 15       block of 32
 *     Q2_K   d·s·q − dmin·m          0 … 3        16                   0 … 15
 *     Q3_K   d·s·(q − 4)             0 … 7        16                   s + 32, 0 … 63
 *     Q4_K   d·s·q − dmin·m          0 … 15       32                   0 … 63
 *     Q5_K   d·s·q − dmin·m          0 … 31       32                   0 … 63
 *     Q6_K   d·s·(q − 32)            0 … 63       16                   −128 … 127, int8
 *     IQ4_XS d·s·level[q]            0 … 15       32                   s + 32, 0 … 63
 *     TQ1_0, TQ2_0 d·(q − 1)         0 … 2        block of 256
 */
export const encodedTypes: Readonly<Record<string, EncodedType>> = {
  Q4_0: plain(2, false, symmetricBlock(8)),
  Q4_1: plain(3, true, affineBlock(15)),
  Q5_0: plain(6, false, symmetricBlock(16)),
  Q5_1: plain(7, true, affineBlock(31)),
  Q8_0: plain(8, false, byteBlock),
  Q2_K: nested(
    10,
    16,
    true,
    affineSuperBlock(16, 3, 15, { low: -0.5, step: 0.1, steps: 15, absolute: true }),
  ),
  Q3_K: nested(11, 16, false, superBlock3),
  Q4_K: nested(
    12,
    32,
    true,
    affineSuperBlock(32, 15, 63, { low: -1, step: 0.1, steps: 20, absolute: false }),
  ),
  Q5_K: nested(
    13,
    32,
    true,
    affineSuperBlock(32, 31, 63, { low: -0.5, step: 0.1, steps: 15, absolute: false }),
  ),
  Q6_K: nested(14, 16, false, superBlock6),
  IQ4_NL: plain(20, false, levelBlock),
  IQ4_XS: nested(23, 32, false, levelSuperBlock),
  TQ1_0: nested(34, 0, false, ternarySuperBlock),
  TQ2_0: nested(35, 0, false, ternarySuperBlock),
  MXFP4: plain(39, false, microBlock, 1),
}

/** The types that take the place of those whose blocks do not divide a row, as llama.cpp has it. */
export const typesOfSmallerBlocks: Readonly<Record<string, string>> = {
  Q2_K: 'Q4_0',
  Q3_K: 'Q4_0',
  Q4_K: 'Q5_0',
  Q5_K: 'Q5_1',
  Q6_K: 'Q8_0',
  IQ4_XS: 'IQ4_NL',
  TQ2_0: 'Q4_0',
}

/**
 * The codes, scales and shifts that ggml's encoder of a type chooses for the rows of x, bit for bit; the
 * blocks of a GGUF file are these parts in another order. With the importance of each column, the mean of its
 * squared inputs, errors count by it.
 * @param x [rows, cols] float32, float16 or bfloat16; cols are whole blocks
 * @param importance [cols]
 * @param type ggml's number of the type
 * @param codes [rows, cols] one byte each
 * @param scale d of each block, [rows, cols / block] float16; for MXFP4 e, one byte
 * @param shift [rows, cols / block] float16: what is taken away, or what the codes of a shift are multiplied
 * by; absent where the table has none
 * @param scaleCodes [rows, cols / group] one byte each; absent where scales are no codes
 * @param shiftCodes as the codes of scales; absent where there is no shift
 */
export function quantizeBlocks(
  x: HostArray,
  dtype: number,
  importance: Float32Array | null,
  type: number,
  codes: Uint8Array,
  scale: Uint8Array,
  shift: Uint8Array | null,
  scaleCodes: Uint8Array | null,
  shiftCodes: Uint8Array | null,
  rows: number,
  cols: number,
): void {
  const values = Float32Array.from(toNumbers(dtypeOfCode(dtype), x))
  const found = Object.values(encodedTypes).find((each) => each.type === type) as EncodedType
  const { block, group, scaleBytes, encode } = found
  const part = (to: Uint8Array | null, at: number, length: number) =>
    to?.subarray(at, at + length) ?? new Uint8Array(0)
  for (let r = 0; r < rows; r++) {
    const row = values.subarray(r * cols, (r + 1) * cols)
    const variance = Math.fround(squareSum(row) / cols)
    for (let c = 0; c < cols; c += block) {
      const at = ((r * cols + c) / block) * scaleBytes
      const groups = group && block / group
      const codeAt = group && (r * cols + c) / group
      encode(row.subarray(c, c + block), importance?.subarray(c, c + block) ?? null, variance, {
        codes: codes.subarray(r * cols + c, r * cols + c + block),
        scale: part(scale, at, scaleBytes),
        shift: part(shift, at, 2),
        scaleCodes: part(scaleCodes, codeAt, groups),
        shiftCodes: part(shiftCodes, codeAt, groups),
      })
    }
  }
}
