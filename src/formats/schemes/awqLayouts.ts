import type { DType, FloatDType } from '../../core/dtype.ts'
import type { Shape } from '../../core/shape.ts'
import { evenFirstRows, type Packing, unpackCodes, wordRows } from '../../qtensor/packing.ts'
import { matrixShape } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { cast, neg, permute, slice, transpose } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import type { StoredDType } from '../tensorFile.ts'
import { describeGroups, makeGroups, type StoredGroups, type UnpackedGroups } from './integerGroups.ts'
import type { Part, PartReader, QuantizedWeight } from './scheme.ts'

/* The layouts of AWQ's versions; awq.ts draws them. */

/** The dtypes of scales. */
const floats: readonly DType[] = ['float16', 'bfloat16', 'float32']

/** @param zeros whether there are zero points */
export function gemmWeight(stored: StoredGroups, zeros: boolean): QuantizedWeight {
  const [out, columns] = matrixShape(stored.shape)
  const groups = Math.ceil(columns / stored.size)
  const words = Math.ceil(out / 8)
  const parts = [
    part('qweight', ['int32'], [columns, words]),
    part('scales', floats, [groups, out]),
    ...(zeros ? [part('qzeros', ['int32'], [groups, words])] : []),
  ]
  return integerWeight(stored, parts, ({ qweight, scales, qzeros }) => ({
    codes: qweight && { words: qweight, packing: evenFirstRows(columns, out) },
    zeroPoint: qzeros && unpack(qzeros, evenFirstRows(groups, out), [out, groups]),
    scale: transpose(scales, 0, 1),
  }))
}

/** @param zeros whether there are zero points */
export function gemvWeight(stored: StoredGroups, zeros: boolean): QuantizedWeight {
  const [out, columns] = matrixShape(stored.shape)
  const groups = Math.ceil(columns / stored.size)
  const words = zeroWords(stored)
  const parts = [
    part('qweight', ['int32'], [out, Math.ceil(columns / 8)]),
    part('scales', floats, [out, 8 * words]),
    ...(zeros ? [part('qzeros', ['int32'], [out, words])] : []),
  ]
  return integerWeight(stored, parts, ({ qweight, scales, qzeros }) => ({
    codes: qweight && { words: qweight, packing: wordRows(out, columns, 4) },
    zeroPoint: qzeros && slice(unpack(qzeros, wordRows(out, 8 * words, 4), [out, 8 * words]), 1, 0, groups),
    scale: slice(scales, 1, 0, groups),
  }))
}

/**
 * Words of the zero points of an output: as many as its groups need, then of groups of 64 an even number, of
 * 32 a multiple of 4.
 * Source: AutoAWQ 0.2.9, modules/linear/gemv.py, `calculate_zeros_width`.
 */
export function zeroWords({ shape, size }: Pick<StoredGroups, 'shape' | 'size'>): number {
  const [, columns] = matrixShape(shape)
  const multiple = size >= 128 ? 1 : Math.ceil(128 / size)
  return Math.ceil(Math.ceil(columns / size / 8) / multiple) * multiple
}

/** What a file holds of a weight. */
interface Held {
  /** Null where codes are not read. */
  readonly qweight: Tensor | null
  readonly scales: Tensor
  readonly qzeros: Tensor | null
}

function integerWeight(
  stored: StoredGroups,
  parts: readonly Part[],
  unpackHeld: (held: Held) => UnpackedGroups,
): QuantizedWeight {
  return {
    ...describeGroups(stored),
    parts,
    async read(reader) {
      const qweight = await reader.codes('qweight')
      const scales = await reader.tensor('scales')
      const qzeros = parts.some(({ name }) => name === 'qzeros') ? await reader.tensor('qzeros') : null
      return makeGroups(reader, stored, 'qzeros', () => unpackHeld({ qweight, scales, qzeros }))
    },
  }
}

/** @param zeros the name of its shifts */
export function fastWeight(stored: StoredGroups, zeros: 'qzeros' | 'scaled_zeros'): QuantizedWeight {
  const { type, shape, size } = stored
  const [out, columns] = matrixShape(shape)
  const block = { kind: 'group', size } as const
  const floatShape = [8 * zeroWords(stored), out]
  return {
    facts: { qtype: type, shape, block, offset: 'shift' },
    dtype: 'float32',
    kind: size === columns ? type.name : `${type.name}, groups of ${size}`,
    parts: [
      part('qweight', ['I16'], [Math.ceil(out / 4), columns]),
      part('scales', floats, floatShape),
      part(zeros, floats, floatShape),
    ],
    read: (parts) => readFast(parts, stored, zeros),
  }
}

async function readFast(
  parts: PartReader,
  { type, shape, size }: StoredGroups,
  zeros: string,
): Promise<QTensor> {
  const [out, columns] = matrixShape(shape)
  const qweight = await parts.codes('qweight')
  if (out % 4 !== 0 || columns % 64 !== 0)
    throw parts.error(
      'qweight',
      `must be of outputs in fours, and inputs in 64; they are ${out} and ${columns}`,
    )
  const scales = await parts.tensor('scales')
  const shifts = await parts.tensor(zeros)
  const ofGroups = (values: Tensor) => transpose(slice(values, 0, 0, Math.ceil(columns / size)), 0, 1)
  return scope(() =>
    QTensor.fromParts({
      type,
      shape,
      dtype: 'float32',
      codes: qweight && deinterleaved(qweight, out, columns),
      block: { kind: 'group', size },
      scale: { values: ofGroups(scales) },
      offset: { kind: 'shift', values: negated(ofGroups(shifts)) },
    }).keep(),
  )
}

/** In the dtype of the floats; their signs alone change. */
function negated(values: Tensor): Tensor {
  return cast(neg(cast(values, 'float32')), values.dtype as FloatDType)
}

/**
 * Codes [out, columns] of a stream in which 64 inputs of four outputs follow one another, and of every 32
 * inputs i = 8a + 2b + c those of one b, eight of them, first with c = 0, then with c = 1:
 *
 *     ⌊output / 4⌋, ⌊input / 64⌋, output mod 4, ⌊input / 32⌋ mod 2, b, c, a
 */
function deinterleaved(words: Tensor, out: number, columns: number): Tensor {
  const eights = unpack(words, evenFirstRows(1, out * columns), [(out * columns) / 32, 4, 4, 2])
  const inOrder = permute(eights, [0, 2, 1, 3])
  const blocks = inOrder.view([out / 4, columns / 64, 4, 64])
  return permute(blocks, [0, 2, 1, 3]).view([out, columns])
}

function unpack(words: Tensor, packing: Packing, shape: Shape): Tensor {
  return unpackCodes(words, packing).view(shape)
}

function part(name: string, dtypes: readonly StoredDType[], shape: Shape): Part {
  return { name, dtypes, shape }
}
