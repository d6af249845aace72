import type { DType } from '../../core/dtype.ts'
import { FormatError } from '../../core/errors.ts'
import { qint8, unsignedType } from '../../core/qtype.ts'
import type { Shape } from '../../core/shape.ts'
import { codesIn } from '../../qtensor/heldCodes.ts'
import { addToCodes, unpackCodes, wordColumns, wordRows } from '../../qtensor/packing.ts'
import { matrixShape } from '../../qtensor/parts.ts'
import { permuteColumns } from '../../qtensor/permuteColumns.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { transpose } from '../../tensor/ops/index.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { JsonObject } from '../json.ts'
import type { TensorFile } from '../tensorFile.ts'
import { columnOrder } from './columnOrder.ts'
import { type GptqVersion, gptqVersion, readGptqSettings, zerosOfRun } from './gptqSettings.ts'
import { gptqWriter } from './gptqWriter.ts'
import { describeGroups, type LayerSettings, makeGroups, type StoredGroups } from './integerGroups.ts'
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
 * `gptq` holds z − 1, `gptq_v2` holds z. Symmetric codes of 8 bits are held around 0, as int8.
 * Source: Frantar et al., "GPTQ", 2023; AutoGPTQ 0.7.1, qlinear_cuda_old.py; GPTQModel 7.7,
 * `convert_gptq_v1_to_v2_format`.
 */
export const gptq = gptqScheme('gptq')

/** The same with zero points as they are. */
export const gptqV2 = gptqScheme('gptq_v2')

function gptqScheme(version: GptqVersion): Scheme {
  return {
    name: version,
    settingsFiles: ['quantize_config.json', 'quant_config.json'],
    detect: (config, file) =>
      config && isGptq(config, file) && gptqVersion(config) === version ? openGptq(config, file) : null,
    trace: (file) => [...file.tensors.keys()].find((name) => name.endsWith('.g_idx')),
    writer: gptqWriter(version),
  }
}

/** Older settings have no name of their method. */
function isGptq(config: JsonObject, file: TensorFile): boolean {
  if (config.has('quant_method')) return config.get('quant_method') === 'gptq'
  return config.has('bits') && [...file.tensors.keys()].some((name) => name.endsWith('.qzeros'))
}

function openGptq(config: JsonObject, file: TensorFile): QuantizedFile {
  const { lessOne, layer } = readGptqSettings(config)
  return {
    layer(path, shape) {
      const words = file.tensors.get(`${path}.qweight`)
      if (shape.length !== 2 || !words) return null
      const settings = layer(path)
      if (!settings)
        throw new FormatError(
          `${file.name}: ${words.name} must be a float, as dynamic says; it is quantized`,
          {
            tensor: words.name,
          },
        )
      const stored = storedGroups(settings, shape)
      return {
        weight: storedWeight(stored, lessOne, file.tensors.has(`${path}.g_idx`)),
        activations: null,
      }
    },
  }
}

function storedGroups({ bits, groupSize, symmetric }: LayerSettings, shape: Shape): StoredGroups {
  const [, columns] = matrixShape(shape)
  const type = bits === 8 && symmetric ? qint8 : unsignedType(bits)
  return { type, shape, size: Math.min(groupSize ?? columns, columns), symmetric }
}

/** @param ordered whether the file has `g_idx` */
function storedWeight(stored: StoredGroups, lessOne: boolean, ordered: boolean): QuantizedWeight {
  const { type, shape, size } = stored
  const [out, columns] = matrixShape(shape)
  const groups = Math.ceil(columns / size)
  const words = (codes: number) => Math.ceil((codes * type.bits) / 32)
  const part = (name: string, dtypes: readonly DType[], partShape: Shape): Part => ({
    name,
    dtypes,
    shape: partShape,
  })
  return {
    ...describeGroups(stored),
    parts: [
      part('qweight', ['int32'], [words(columns), out]),
      part('qzeros', ['int32'], [groups, words(out)]),
      part('scales', ['float16', 'bfloat16', 'float32'], [groups, out]),
      ...(ordered ? [part('g_idx', ['int32'], [columns])] : []),
    ],
    read: (parts) => readWeight(parts, stored, lessOne, ordered),
  }
}

async function readWeight(
  parts: PartReader,
  stored: StoredGroups,
  lessOne: boolean,
  ordered: boolean,
): Promise<QTensor> {
  const { device } = parts
  const { shape, size, type } = stored
  const { bits } = type
  const [out, columns] = matrixShape(shape)
  const groups = Math.ceil(columns / size)
  const order = ordered ? await columnOrder(parts, 'g_idx', size) : null
  const zeros = await parts.tensor('qzeros')
  const words = await parts.codes('qweight')
  const scales = await parts.tensor('scales')
  return makeGroups(parts, stored, 'qzeros', () => {
    const codes = words && { words, packing: wordColumns(out, columns, bits) }
    const places = order && Tensor.fromArray(device, order, [columns], 'int32')
    const held = unpackCodes(zeros, wordRows(groups, out, bits)).view([groups, out])
    const zeroPoint = lessOne ? addToCodes(held, bits, 1, zerosOfRun(bits)) : held
    return {
      codes: codes && places ? permuteColumns(codesIn(codes, shape), places) : codes,
      zeroPoint: transpose(zeroPoint, 0, 1),
      scale: transpose(scales, 0, 1),
      order: places,
    }
  })
}
