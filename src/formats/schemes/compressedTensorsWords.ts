import { type QType, qint8, unsignedType } from '../../core/qtype.ts'
import { type Shape, sameShape, showShape } from '../../core/shape.ts'
import { codesIn } from '../../qtensor/heldCodes.ts'
import { addToCodes, unpackCodes, wordColumns, wordRows } from '../../qtensor/packing.ts'
import { blocksShape, matrixShape, type Offset } from '../../qtensor/parts.ts'
import { permuteColumns } from '../../qtensor/permuteColumns.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { slice, transpose } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { columnOrder } from './columnOrder.ts'
import { floatScales, kindOf, type StoredPlace } from './compressedTensorsPlace.ts'
import type { Part, PartReader, QuantizedWeight } from './scheme.ts'

/**
 * Integers of 1 to 8 bits, each above the least one, in words of 32 bits.
 *
 *     weight_packed      [out, ⌈in · bits / 32⌉] int32     rows: streams of codes, lowest bits first
 *     weight_scale       [1], [out, 1] or [out, groups]
 *     weight_zero_point  [⌈out · bits / 32⌉, groups] int32  columns: streams of zero points, of weights that are
 *                                                          not symmetric; int8 [1] of one scale
 *     weight_shape       [2] int64                         out and in
 *     weight_g_idx       [in] int32                        the group of each input, of older act-order
 *
 * Versions of 2026 wrote words of ⌊32 / bits⌋ whole codes for a while; the number of words tells.
 */
export function packedWeight(place: StoredPlace): QuantizedWeight {
  const { args, shape, block, dtype } = place
  const [out, columns] = matrixShape(shape)
  const [, groups] = blocksShape(block, shape)
  const { bits } = args
  const whole =
    isWhole(place.stored('weight_packed')?.[1], columns, bits) ||
    isWhole(place.stored('weight_zero_point')?.[0], out, bits)
  const words = (codes: number) => wordCount(codes, bits, whole)
  const zeroPoint =
    args.strategy === 'tensor'
      ? place.part('weight_zero_point', ['int8'], [1], [])
      : place.part('weight_zero_point', ['int32'], [words(out), groups])
  const ordered = args.ordered || place.stored('weight_g_idx') !== undefined
  const type = bits === 8 && args.symmetric ? qint8 : unsignedType(bits)
  return {
    facts: { qtype: type, shape, block, offset: type.unsigned ? 'zeroPoint' : null },
    dtype,
    kind: kindOf(place, type.name),
    parts: [
      place.part('weight_packed', ['int32'], [out, words(columns)]),
      place.scale(floatScales),
      ...(args.symmetric ? [] : [zeroPoint]),
      place.part('weight_shape', ['int64', 'int32'], [2]),
      ...(ordered ? [place.part('weight_g_idx', ['int32'], [columns])] : []),
    ],
    read: (parts) =>
      readPacked(parts, place, { type, whole, ordered, zeroPart: args.symmetric ? null : zeroPoint }),
  }
}

/** How codes are packed. */
interface Packed {
  readonly type: QType
  /** Whether no code lies in two words. */
  readonly whole: boolean
  readonly ordered: boolean
  readonly zeroPart: Part | null
}

async function readPacked(
  parts: PartReader,
  { args, shape, block, dtype }: StoredPlace,
  { type, whole, ordered, zeroPart }: Packed,
): Promise<QTensor> {
  const { device } = parts
  const { bits } = type
  const [out, columns] = matrixShape(shape)
  const blocks = blocksShape(block, shape)
  await checkStoredShape(parts, shape)
  const size = block.kind === 'group' ? block.size : columns
  const order = ordered ? await columnOrder(parts, 'weight_g_idx', size) : null
  const words = await parts.codes('weight_packed')
  const scales = await parts.tensor('weight_scale')
  const zeros = zeroPart && (await parts.tensor(zeroPart.name))
  return scope(() => {
    const middle = 2 ** (bits - 1)
    const packed = words && { words, packing: wordRows(out, columns, bits) }
    const stored = words && whole ? unpackRows(words, out, columns, bits, whole) : packed
    // Of int8 the codes are the integers themselves.
    const codes = type.unsigned || !stored ? stored : addToCodes(codesIn(stored, shape), 8, middle)
    const places = order && Tensor.fromArray(device, order, [columns], 'int32')
    const zeroPoint = (): Offset => {
      if (!zeros) return { kind: 'zeroPoint', value: middle }
      const values =
        args.strategy === 'tensor'
          ? addToCodes(zeros.view([1, 1]), 8, middle)
          : unpackColumns(zeros, blocks[1], out, bits, whole)
      return { kind: 'zeroPoint', values }
    }
    return QTensor.fromParts(
      {
        type,
        shape,
        dtype,
        codes: codes && places ? permuteColumns(codesIn(codes, shape), places) : codes,
        block,
        scale: { values: scales.view(blocks) },
        offset: type.unsigned ? zeroPoint() : null,
        order: places,
      },
      parts.form,
    ).keep()
  })
}

/** @throws FormatError unless the file says that the weight has this shape */
async function checkStoredShape(parts: PartReader, shape: Shape): Promise<void> {
  const bytes = new Uint8Array(await parts.bytes('weight_shape')).buffer
  const wide = parts.info('weight_shape').dtype === 'int64'
  const stored = [...(wide ? new BigInt64Array(bytes) : new Int32Array(bytes))].map(Number)
  if (sameShape(stored, shape)) return
  throw parts.error('weight_shape', `must be ${showShape(shape)}; it is ${showShape(stored)}`)
}

/** Codes of so many bits in a word, where none lies in two. */
function wholeCodes(bits: number): number {
  return Math.floor(32 / bits)
}

/** How many words hold so many codes. */
function wordCount(codes: number, bits: number, whole: boolean): number {
  return whole ? Math.ceil(codes / wholeCodes(bits)) : Math.ceil((codes * bits) / 32)
}

/** Whether so many words are those of whole codes, and not of a stream. */
function isWhole(words: number | undefined, codes: number, bits: number): boolean {
  return words === wordCount(codes, bits, true) && words !== wordCount(codes, bits, false)
}

/** Words [rows, words] → codes [rows, length]. */
function unpackRows(words: Tensor, rows: number, length: number, bits: number, whole: boolean): Tensor {
  if (!whole) return unpackCodes(words, wordRows(rows, length, bits)).view([rows, length])
  const count = words.size(1) * wholeCodes(bits)
  const codes = unpackCodes(words, wordRows(words.numel, wholeCodes(bits), bits))
  return slice(codes.view([rows, count]), 1, 0, length)
}

/** Words [words, columns] → codes [length, columns]. */
function unpackColumns(words: Tensor, columns: number, length: number, bits: number, whole: boolean): Tensor {
  const codes = whole
    ? unpackRows(transpose(words, 0, 1), columns, length, bits, whole)
    : unpackCodes(words, wordColumns(columns, length, bits)).view([columns, length])
  return transpose(codes, 0, 1)
}
