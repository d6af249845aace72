import { type FloatDType, isFloatDType } from '../../core/dtype.ts'
import { FormatError } from '../../core/errors.ts'
import { type QType, unsignedType } from '../../core/qtype.ts'
import { type Shape, showShape } from '../../core/shape.ts'
import { wordRows } from '../../qtensor/packing.ts'
import { matrixShape, showBlock } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { cast, neg } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import type { JsonObject } from '../json.ts'
import { type TensorFile, tensorInfo } from '../tensorFile.ts'
import { affineBits, affineGroups, floatModes } from './mlxModes.ts'
import { mlxWriter } from './mlxWriter.ts'
import type { Part, PartReader, QuantizedFile, QuantizedWeight, Scheme } from './scheme.ts'

/**
 * MLX's quantized layers, as mlx-lm and transformers ("metal") store them: codes along the columns of
 * linear layers and embeddings in words of 32 bits, a stream of each row's, lowest bits first.
 *
 *     X.weight   [out, in · bits / 32] uint32
 *     X.scales   [out, in / group]      floats; of the modes mxfp4, mxfp8 and nvfp4 bytes: powers of two, or float8
 *     X.biases   [out, in / group]      floats, `qbiases` in transformers' folders; of the mode affine alone
 *
 *     affine           w = scale · q + bias       1 to 6, or 8 bits, groups of 32, 64 or 128
 *     mxfp4, mxfp8     w = 2^(scale − 127) · v    4-bit or 8-bit floats in groups of 32
 *     nvfp4            w = scale · v              4-bit floats in groups of 16
 *
 * config.json holds the settings under `quantization`, and in newer folders under `quantization_config`, too;
 * beside those of all layers, a layer's own by its path, `false` where it stays float. What is not named is
 * quantized if it has scales, and its tensors say how.
 * Source: mlx 0.32, `mlx.core.quantize`; mlx-lm 0.32, utils.py, `load_model`; transformers 5,
 * integrations/metal_quantization.py.
 */
export const mlx: Scheme = {
  name: 'mlx',
  settingsKeys: ['quantization'],
  detect: (config, file) => (config && isMlx(config) ? openMlx(config, file) : null),
  writer: mlxWriter,
  trace: (file) =>
    [...file.tensors.keys()].find(
      (name) => name.endsWith('.scales') && file.tensors.get(weightOf(name))?.dtype === 'U32',
    ),
}

/** How a layer is quantized. */
interface Settings {
  readonly mode: string
  readonly type: QType
  readonly groupSize: number
}

/** transformers names the method; mlx-lm does not. */
function isMlx(config: JsonObject): boolean {
  if (config.has('quant_method')) return config.get('quant_method') === 'metal'
  return config.has('group_size') && config.has('bits')
}

function openMlx(config: JsonObject, file: TensorFile): QuantizedFile {
  const all = readSettings(config, null)
  const biases = config.has('quant_method') ? 'qbiases' : 'biases'
  return {
    layer(path, shape) {
      if (shape.length !== 2 || !hasCodes(file, path)) return null
      const name = nameOf(file, path)
      const own = config.get(name)
      if (own === false) return null
      const settings =
        own === true
          ? all
          : own === undefined
            ? (storedSettings(file, path, shape) ?? all)
            : readSettings(config.object(name), all)
      return { weight: storedWeight(file, path, settings, shape, biases), activations: null }
    },
  }
}

/** Whether the file holds words for the layer. */
function hasCodes(file: TensorFile, path: string): boolean {
  return file.tensors.has(`${path}.scales`) || file.tensors.get(`${path}.weight`)?.dtype === 'U32'
}

/** What the file calls the layer at `path`. */
function nameOf(file: TensorFile, path: string): string {
  const name = file.tensors.get(`${path}.weight`)?.name ?? `${path}.weight`
  return name.slice(0, -'.weight'.length)
}

function weightOf(scales: string): string {
  return `${scales.slice(0, -'.scales'.length)}.weight`
}

/**
 * @param all the settings of the model, for those of a layer; they name every field
 * @throws FormatError for bits, groups or modes that MLX has not
 */
function readSettings(config: JsonObject, all: Settings | null): Settings {
  const mode = config.string('mode', 'affine')
  if (mode === 'affine') {
    const bits = config.count('bits', all ? 4 : undefined)
    if (!affineBits.includes(bits)) throw config.error('bits', 'must be 1 to 6, or 8')
    const groupSize = config.positiveInteger('group_size', all ? 64 : undefined)
    if (!affineGroups.includes(groupSize)) throw config.error('group_size', 'must be 32, 64 or 128')
    return { mode, type: unsignedType(bits), groupSize }
  }
  if (!Object.hasOwn(floatModes, mode))
    throw config.error('mode', `must be affine, ${Object.keys(floatModes).join(' or ')}`)
  const { type, groupSize } = floatModes[mode]
  for (const [key, value] of [
    ['bits', type.bits],
    ['group_size', groupSize],
  ] as const)
    if (config.count(key, value) !== value) throw config.error(key, `must be ${value} for ${mode}`)
  return { mode, type, groupSize }
}

/** What the tensors of a layer say that no setting names; null where they say nothing that MLX has. */
function storedSettings(file: TensorFile, path: string, [, columns]: Shape): Settings | null {
  const scales = file.tensors.get(`${path}.scales`)
  if (!scales) return null
  const words = file.tensors.get(`${path}.weight`)?.shape.at(-1) ?? 0
  const [bits, groupSize] = [(32 * words) / columns, columns / (scales.shape.at(-1) ?? 0)]
  const affine = { mode: 'affine', type: unsignedType(bits), groupSize }
  const candidates = isFloatDType(scales.dtype)
    ? [affine].filter(() => affineBits.includes(bits) && affineGroups.includes(groupSize))
    : Object.entries(floatModes).map(([mode, one]) => ({ ...one, mode }))
  return candidates.find((one) => one.type.bits === bits && one.groupSize === groupSize) ?? null
}

function storedWeight(
  file: TensorFile,
  path: string,
  settings: Settings,
  shape: Shape,
  biases: string,
): QuantizedWeight {
  const { mode, type, groupSize } = settings
  const [out, columns] = matrixShape(shape)
  if (columns % groupSize !== 0) {
    const { name } = tensorInfo(file, `${path}.${file.tensors.has(`${path}.weight`) ? 'weight' : 'scales'}`)
    const problem = `must have columns in groups of ${groupSize}; the model has ${showShape(shape)} there`
    throw new FormatError(`${file.name}: ${name} ${problem}`, { tensor: name })
  }
  const block = { kind: 'group', size: groupSize } as const
  const isAffine = mode === 'affine'
  const stored = file.tensors.get(`${path}.scales`)?.dtype ?? 'float32'
  const floats: readonly FloatDType[] = isFloatDType(stored) ? [stored] : ['float32', 'float16', 'bfloat16']
  const groups = [out, columns / groupSize]
  const scales: Part = { name: 'scales', dtypes: isAffine ? floats : ['uint8'], shape: groups }
  return {
    facts: { qtype: type, shape, block, offset: isAffine ? 'shift' : null },
    dtype: isAffine ? floats[0] : 'bfloat16',
    kind: `${isAffine ? type.name : mode}, ${showBlock(block, shape)}`,
    parts: [
      { name: 'weight', dtypes: ['U32'], shape: [out, (columns * type.bits) / 32] },
      ...(isAffine ? [scales, { ...scales, name: biases }] : [scales]),
    ],
    read: (parts) => readWeight(parts, settings, shape, biases),
  }
}

async function readWeight(
  parts: PartReader,
  { mode, type, groupSize }: Settings,
  shape: Shape,
  biases: string,
): Promise<QTensor> {
  const [N, K] = matrixShape(shape)
  const words = await parts.codes('weight')
  const values = await parts.tensor('scales', floatModes[mode]?.scales)
  const bias = mode === 'affine' ? await parts.tensor(biases) : null
  return scope(() =>
    keep(
      QTensor.fromParts(
        {
          ...{ type, shape, dtype: bias ? (values.dtype as FloatDType) : 'bfloat16' },
          codes: words && { words, packing: wordRows(N, K, type.bits) },
          block: { kind: 'group', size: groupSize },
          scale: { values },
          offset: bias && { kind: 'shift', values: negated(bias) },
        },
        parts.form,
      ),
    ),
  )
}

/** −x in x's dtype, exactly. */
function negated(x: Tensor): Tensor {
  return cast(neg(cast(x, 'float32')), x.dtype)
}
