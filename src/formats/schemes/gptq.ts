import type { DType } from '../../core/dtype.ts'
import { type QType, qint2, qint3, qint4, quint8 } from '../../core/qtype.ts'
import type { Shape } from '../../core/shape.ts'
import { addToCodes, unpackCodes, wordColumns, wordRows } from '../../qtensor/packing.ts'
import type { Block } from '../../qtensor/parts.ts'
import { matrixShape } from '../../qtensor/parts.ts'
import { permuteColumns } from '../../qtensor/permuteColumns.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { transpose } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { JsonObject } from '../json.ts'
import type { TensorFile } from '../tensorFile.ts'
import { columnOrder } from './columnOrder.ts'
import type { Part, PartReader, QuantizedFile, QuantizedWeight, Scheme } from './scheme.ts'

/**
 * GPTQ, as AutoGPTQ, GPTQModel and optimum write it: unsigned codes of 2, 3, 4 or 8 bits and integer zero
 * points,
 *
 *     w[o, i] = scales[g_idx[i], o] · (q[o, i] − z[g_idx[i], o])
 *
 * in words of 32 bits, each a stretch of a stream of codes, lowest bits first; of 3 bits some codes lie in
 * two words.
 *
 *     qweight  [⌈in · bits / 32⌉, out] int32      word w of column o: codes q[o, …] of inputs, in order
 *     qzeros   [groups, ⌈out · bits / 32⌉] int32  word w of row g: zero points z[g, …] of outputs, in order
 *     scales   [groups, out] float16 or bfloat16
 *     g_idx    [in] int32                         group of each input: ⌊i / group_size⌋, but by act-order
 *
 * `gptq` holds z − 1, `gptq_v2` holds z.
 * Source: Frantar et al., "GPTQ", 2023; AutoGPTQ 0.7.1, qlinear_cuda_old.py; GPTQModel 7.7,
 * `convert_gptq_v1_to_v2_format`.
 */
export const gptq: Scheme = {
  name: 'gptq',
  settingsFiles: ['quantize_config.json', 'quant_config.json'],
  detect: (config, file) => (config && isGptq(config, file) ? openGptq(config, file) : null),
  trace: (file) => [...file.tensors.keys()].find((name) => name.endsWith('.g_idx')),
}

/** The type that holds codes of so many bits. */
const types: Readonly<Record<number, QType>> = { 2: qint2, 3: qint3, 4: qint4, 8: quint8 }

/** What the settings say of every layer. */
interface Settings {
  readonly type: QType
  /** Columns that share a scale; null: the row. */
  readonly groupSize: number | null
  /** Whether the file holds z − 1. */
  readonly lessOne: boolean
}

/** Older settings have no name of their method. */
function isGptq(config: JsonObject, file: TensorFile): boolean {
  if (config.has('quant_method')) return config.string('quant_method') === 'gptq'
  return config.has('bits') && [...file.tensors.keys()].some((name) => name.endsWith('.qzeros'))
}

function openGptq(config: JsonObject, file: TensorFile): QuantizedFile {
  const settings = readSettings(config)
  return {
    layer(path, shape) {
      if (shape.length !== 2 || !file.tensors.has(`${path}.qweight`)) return null
      const ordered = file.tensors.has(`${path}.g_idx`)
      return { weight: storedWeight(settings, shape, ordered), activations: null }
    },
  }
}

function readSettings(config: JsonObject): Settings {
  const bits = config.count('bits')
  if (types[bits] === undefined) throw config.error('bits', `must be 2, 3, 4 or 8; it is ${bits}`)
  const groupSize = config.number('group_size', -1)
  if (groupSize !== -1 && !(Number.isInteger(groupSize) && groupSize > 0 && groupSize <= 2 ** 20))
    throw config.error('group_size', `must be -1 or a whole number from 1 up; it is ${groupSize}`)
  const key = config.has('checkpoint_format') ? 'checkpoint_format' : 'format'
  const format = config.string(key, 'gptq')
  if (format !== 'gptq' && format !== 'gptq_v2') throw config.error(key, 'must be "gptq" or "gptq_v2"')
  if (config.has('dynamic') && config.object('dynamic').keys().length > 0)
    throw config.error('dynamic', 'must be absent: settings of single layers are not supported')
  return {
    type: types[bits],
    groupSize: groupSize === -1 ? null : groupSize,
    lessOne: format === 'gptq',
  }
}

/** @param ordered whether the file has `g_idx` */
function storedWeight(settings: Settings, shape: Shape, ordered: boolean): QuantizedWeight {
  const [out, columns] = matrixShape(shape)
  const { type } = settings
  const size = Math.min(settings.groupSize ?? columns, columns)
  const block = { kind: 'group', size } as const
  const groups = Math.ceil(columns / size)
  const words = (codes: number) => Math.ceil((codes * type.bits) / 32)
  const part = (name: string, dtypes: readonly DType[], partShape: Shape): Part => ({
    name,
    dtypes,
    shape: partShape,
  })
  return {
    facts: { qtype: type, shape, block, offset: 'zeroPoint' },
    dtype: 'float32',
    kind: size === columns ? `${type.name}, zero points` : `${type.name}, zero points, groups of ${size}`,
    parts: [
      part('qweight', ['int32'], [words(columns), out]),
      part('qzeros', ['int32'], [groups, words(out)]),
      part('scales', ['float16', 'bfloat16', 'float32'], [groups, out]),
      ...(ordered ? [part('g_idx', ['int32'], [columns])] : []),
    ],
    read: (parts) => readWeight(parts, settings, shape, block, ordered),
  }
}

async function readWeight(
  parts: PartReader,
  { type, lessOne }: Settings,
  shape: Shape,
  block: Block & { kind: 'group' },
  ordered: boolean,
): Promise<QTensor> {
  const { device } = parts
  const [out, columns] = matrixShape(shape)
  const groups = Math.ceil(columns / block.size)
  const order = ordered ? await columnOrder(parts, 'g_idx', block.size) : null
  const zeros = await parts.tensor('qzeros')
  const words = await parts.tensor('qweight')
  const scales = await parts.tensor('scales')
  return scope(() => {
    const { bits } = type
    const codes = unpackCodes(words, wordColumns(out, columns, bits)).view([out, columns])
    const places = order && Tensor.fromArray(device, order, [columns], 'int32')
    const stored = unpackCodes(zeros, wordRows(groups, out, bits)).view([groups, out])
    const zeroPoint = lessOne ? addToCodes(stored, bits, 1, runOf(bits)) : stored
    return QTensor.fromParts({
      type,
      shape,
      dtype: 'float32',
      codes: places ? permuteColumns(codes, places) : codes,
      block,
      scale: { values: transpose(scales, 0, 1) },
      offset: { kind: 'zeroPoint', values: transpose(zeroPoint, 0, 1) },
      order: places,
    }).keep()
  })
}

/**
 * How many zero points are one number, from whose digits one was taken as from a whole: those of a word; of 3
 * bits, where codes lie in two words, those of three.
 */
function runOf(bits: number): number {
  return bits === 3 ? 32 : 32 / bits
}
