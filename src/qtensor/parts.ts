import { aFloatDType, type DType, dtypes, type FloatDType, isFloatDType } from '../core/dtype.ts'
import { DTypeError, ShapeError } from '../core/errors.ts'
import { above, anObject, check } from '../core/kinds.ts'
import { aQType, type QType } from '../core/qtype.ts'
import { numel, type Shape, showShape } from '../core/shape.ts'
import { checkSizes } from '../tensor/creation.ts'
import { checkDType, checkShape, Tensor } from '../tensor/tensor.ts'
import type { PackedCodes } from './packing.ts'

/**
 * The weights that share a scale. The values of a tensor of scales stand in the order of the blocks:
 *
 *     group   `size` consecutive stored columns of a row; the last of a row may have fewer    [N, ⌈K / size⌉]
 *     tile    `rows` × `columns`; the last ones may be cut off                 [⌈N / rows⌉, ⌈K / columns⌉]
 *     run     `size` consecutive values of the flattened weight, across rows; the last may be shorter
 *                                                                                        [⌈N · K / size⌉]
 *     comb    `teeth` values of the flattened weight that lie N · K / teeth apart            [N · K / teeth]
 */
export type Block =
  | { readonly kind: 'group'; readonly size: number }
  | { readonly kind: 'tile'; readonly rows: number; readonly columns: number }
  | { readonly kind: 'run'; readonly size: number }
  | { readonly kind: 'comb'; readonly teeth: number }

/** A scale for each block, as numbers of whatever float dtype. */
export interface PlainScale {
  /** Of the shape of the blocks. */
  readonly values: Tensor
  /**
   * What scaled codes are divided by: w = v(q) · scale / divisor, both operations rounded to float32. Only
   * where there is no offset.
   */
  readonly divisor?: number
}

/**
 * Scales that were quantized once more (double quantization), in runs of `blockSize` of them:
 *
 *     scale[i] = v(codes[i]) · values[⌊i / blockSize⌋] + offset                each operation rounded to float32
 *
 * v(c) is codebook[c], or the 8-bit float c, or c − zero of an integer. One value for all of them may divide.
 */
export interface NestedScale {
  /** Of the shape of the blocks: uint8, int8, float8_e4m3fn or float8_e8m0fnu. */
  readonly codes: Tensor
  /** [256] float32, where uint8 codes are places in it. */
  readonly codebook?: Tensor | null
  /** Bits that a code takes, of integers from 0 up; default 8. */
  readonly bits?: number
  /** What is taken from integers; default 0. */
  readonly zero?: number
  readonly blockSize: number
  /** [⌈blocks / blockSize⌉] float32 or float16; with a codebook, float32. */
  readonly values: Tensor
  /** Whether the one value that all codes share divides, and does not multiply; default false. */
  readonly divides?: boolean
  /** One float32 value; default 0. */
  readonly offset?: Tensor | number
}

/** The scales of a weight, plain or quantized once more. */
export type Scale = PlainScale | NestedScale

/**
 * What is taken away before or after scaling: `shift` w = scale · q − shift; `zeroPoint` and `zero` w = scale
 * · (q − z). Values have the shape of the blocks: shifts are floats, or quantized once more as scales are;
 * zero points are integers of one byte in the codes' range, or one number for all blocks; zeros are floats.
 */
export type Offset =
  | (PlainScale & { readonly kind: OffsetKind })
  | (NestedScale & { readonly kind: 'shift' })
  | { readonly kind: 'zeroPoint'; readonly value: number }

export type OffsetKind = 'shift' | 'zeroPoint' | 'zero'

/** Everything that a quantized weight is made of: what file formats and quantizers give. */
export interface WeightParts {
  readonly type: QType
  /** Of the float weight; as a matrix it has N = shape[0] rows and K = the rest of the shape columns. */
  readonly shape: Shape
  /** The dtype of the float weight, in which the library that wrote it computes it. */
  readonly dtype: FloatDType
  /** [N, K] one byte a code. */
  readonly codes: Tensor
  readonly block: Block
  readonly scale: Scale
  readonly offset?: Offset | null
  /**
   * [K] int32, a permutation: stored column j holds column order[j] of the weight. Blocks are of stored
   * columns. Whoever reads it from a file checks that it is a permutation.
   */
  readonly order?: Tensor | null
}

/** The same with codes as a file packs them, or without: what is looked at before codes are read. */
export type PartsToHold = Omit<WeightParts, 'codes'> & { readonly codes: Tensor | PackedCodes | null }

/** What a product with a quantized weight depends on: its facts without its values. */
export interface WeightFacts {
  readonly qtype: QType
  readonly shape: Shape
  readonly block: Block
  /** What is taken from scaled codes. */
  readonly offset: OffsetKind | null
}

/** [N, K]: the first dimension, and all others together. */
export function matrixShape(shape: Shape): [rows: number, cols: number] {
  return [shape[0], numel(shape.slice(1))]
}

/** The shape of the scales of a weight. */
export function blocksShape(block: Block, shape: Shape): Shape {
  const [N, K] = matrixShape(shape)
  if (block.kind === 'run') return [Math.ceil((N * K) / block.size)]
  if (block.kind === 'group') return [N, Math.ceil(K / block.size)]
  if (block.kind === 'comb') return [(N * K) / block.teeth]
  return [Math.ceil(N / block.rows), Math.ceil(K / block.columns)]
}

/**
 * The columns that share a scale where every block lies in one row, and rows begin with a block; null
 * elsewhere.
 */
export function rowBlock(block: Block, shape: Shape): number | null {
  const [, K] = matrixShape(shape)
  if (block.kind === 'group') return block.size
  return block.kind === 'run' && K % block.size === 0 ? block.size : null
}

/** [N, groups], for blocks of which every one lies in one row; null elsewhere. */
export function rowsOfBlocks(block: Block, shape: Shape): [rows: number, groups: number] | null {
  const [N, K] = matrixShape(shape)
  const size = rowBlock(block, shape)
  return size === null ? null : [N, Math.ceil(K / size)]
}

/** Columns of a row that share a scale, at most; of a run they may lie in several rows. */
export function groupSizeOf(block: Block): number {
  if (block.kind === 'comb') return 1
  return block.kind === 'tile' ? block.columns : block.size
}

/** `groups of 64`, `one scale a row`, `tiles of 128 × 128`, `runs of 64`, `combs of 64` */
export function showBlock(block: Block, shape: Shape): string {
  if (block.kind === 'tile') return `tiles of ${block.rows} × ${block.columns}`
  if (block.kind === 'run') return `runs of ${block.size}`
  if (block.kind === 'comb') return `combs of ${block.teeth}`
  return block.size === matrixShape(shape)[1] ? 'one scale a row' : `groups of ${block.size}`
}

export function isNested<Values extends object>(values: Values): values is Values & NestedScale {
  return 'codes' in values
}

/** The dtypes that scales may have. */
const scaleDtypes: readonly DType[] = ['float32', 'float16', 'bfloat16', 'float8_e4m3fn', 'float8_e8m0fnu']

/** @throws ShapeError or DTypeError unless all parts fit one another. */
export function checkParts(parts: PartsToHold): void {
  check('qtensor', 'parts', parts, anObject)
  const { type, shape, dtype, codes, block, scale, offset, order } = parts
  check('qtensor', 'type', type, aQType)
  checkSizes('qtensor', shape)
  check('qtensor', 'dtype', dtype, aFloatDType)
  const [N, K] = matrixShape(shape)
  checkBlock(block, shape)
  const blocks = blocksShape(block, shape)
  if (codes instanceof Tensor) {
    checkShape('qtensor', 'codes', codes, [N, K])
    checkBytes('codes', codes)
  } else if (codes) checkPacked(codes, N * K)
  if (isNested(scale)) checkNested('scale', scale, blocks)
  else {
    checkShape('qtensor', 'scale', scale.values, blocks)
    checkDType('qtensor', 'scale', scale.values, ...scaleDtypes)
    checkDivisor(scale, offset ?? null)
  }
  if (offset) checkOffset(type, offset, blocks)
  if (!order) return
  checkShape('qtensor', 'order', order, [K])
  checkDType('qtensor', 'order', order, 'int32')
}

function checkPacked({ words, packing: { count, packedBytes } }: PackedCodes, codes: number): void {
  if (count === codes && words.byteLength === packedBytes) return
  throw new ShapeError(
    `qtensor: packed codes must be ${codes} in ${packedBytes} bytes; received ${count} in ${words.byteLength}`,
  )
}

function checkDivisor({ divisor }: PlainScale, offset: Offset | null): void {
  if (divisor === undefined) return
  check('qtensor', 'scale.divisor', divisor, above(0))
  if (offset) throw new ShapeError('qtensor: scales with a divisor must have no offset')
}

/** @throws ShapeError unless it has whole sizes from 1 up. */
export function checkBlock(block: Block, shape: Shape): void {
  check('qtensor', 'block', block, anObject)
  const { kind, ...sizes } = block
  const isKnown = ['group', 'tile', 'run', 'comb'].includes(kind)
  const isWhole = Object.values(sizes).every((size) => Number.isInteger(size) && size > 0)
  if (isKnown && isWhole && (kind !== 'comb' || numel(shape) % block.teeth === 0)) return
  throw new ShapeError(
    `qtensor: blocks must be groups, tiles or runs of 1 or more columns, or combs that divide the weight; received ${JSON.stringify(block)} for ${showShape(shape)}`,
  )
}

/** The dtypes that the codes of values may have. */
const codeDtypes: readonly DType[] = ['uint8', 'int8', 'float8_e4m3fn', 'float8_e8m0fnu']

function checkNested(name: string, nested: NestedScale, blocks: Shape): void {
  const { codes, codebook, bits = 8, zero = 0, blockSize, values, divides, offset } = nested
  checkShape('qtensor', `${name}.codes`, codes, blocks)
  checkDType('qtensor', `${name}.codes`, codes, ...(codebook ? (['uint8'] as const) : codeDtypes))
  if (codebook) {
    checkShape('qtensor', `${name}.codebook`, codebook, [256])
    checkDType('qtensor', `${name}.codebook`, codebook, 'float32')
  }
  const rule = (must: string, value: unknown) => new ShapeError(`qtensor: ${name}.${must}; received ${value}`)
  if (!Number.isInteger(bits) || bits < 1 || bits > 8 || (bits < 8 && codes.dtype !== 'uint8'))
    throw rule('bits must be 8, or of uint8 codes 1 to 8', `${bits} of ${codes.dtype}`)
  if (!Number.isInteger(zero) || zero < 0 || zero > 255 || (zero > 0 && codes.dtype !== 'uint8'))
    throw rule('zero must be 0, or of uint8 codes a code', `${zero} of ${codes.dtype}`)
  if (!Number.isInteger(blockSize) || blockSize < 1)
    throw rule('blockSize must be a whole number from 1 up', blockSize)
  checkShape('qtensor', `${name}.values`, values, [Math.ceil(numel(blocks) / blockSize)])
  checkDType('qtensor', `${name}.values`, values, 'float32', ...(codebook ? [] : (['float16'] as const)))
  if (divides && values.numel !== 1)
    throw rule('values must be one where it divides', showShape(values.shape))
  if (!(offset instanceof Tensor)) return
  checkDType('qtensor', `${name}.offset`, offset, 'float32')
  if (offset.numel !== 1) throw rule('offset must be one value', showShape(offset.shape))
}

function checkOffset(type: QType, offset: Offset, blocks: Shape): void {
  if (offset.kind !== 'shift' && type.values !== 'unsigned' && type.values !== 'signed')
    throw new DTypeError(`qtensor: zero points belong to integer codes; received ${type.name}`)
  if ('value' in offset) {
    const { value } = offset
    if (Number.isInteger(value) && type.qmin <= value && value <= type.qmax) return
    throw new ShapeError(
      `qtensor: a zero point must be a code of ${type.name}, ${type.qmin} to ${type.qmax}; received ${value}`,
    )
  }
  if (isNested(offset)) {
    checkNested(offset.kind, offset, blocks)
    return
  }
  const { kind, values } = offset
  checkShape('qtensor', kind, values, blocks)
  if (kind !== 'zeroPoint') checkDType('qtensor', kind, values, 'float32', 'float16', 'bfloat16')
  else checkBytes(kind, values)
}

function checkBytes(name: string, tensor: Tensor): void {
  if (dtypes[tensor.dtype].bytes === 1 && !isFloatDType(tensor.dtype)) return
  throw new DTypeError(`qtensor: ${name} must have one byte each; received ${tensor.dtype}`)
}
