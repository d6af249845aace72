import type { DType, FloatDType } from '../../core/dtype.ts'
import { isFloatDType } from '../../core/dtype.ts'
import {
  e2m1,
  type QType,
  qfloat8_e4m3fn,
  qfloat8_e5m2,
  qint4,
  qint8,
  unsignedType,
} from '../../core/qtype.ts'
import { numel, type Shape } from '../../core/shape.ts'
import type { ComputeDType } from '../../qtensor/computeDtype.ts'
import { addToCodes, lowFirst, unpackCodes } from '../../qtensor/packing.ts'
import {
  type Block,
  blocksShape,
  matrixShape,
  type OffsetKind,
  showBlock,
  type WeightParts,
} from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { add, cast, mul, neg, permute, slice, transpose } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import { type JsonObject, show } from '../json.ts'
import type { StoredDType, TensorInfo } from '../tensorFile.ts'
import { checkCodes } from './checkCodes.ts'
import type { Part, PartReader, QuantizedWeight } from './scheme.ts'

/*
 * torchao's subclasses of tensors, [N, K]. A block of their attributes `block_size` shares a scale: [1, 32] a
 * group of 32 columns, [1, K] a row, [N, K] or [] the whole weight.
 *
 *     Int8Tensor                 qdata int8, scale, and zero_point int8, all 0           w = scale · q
 *     IntxUnpackedToInt8Tensor   qdata int8 of few bits, scale, zero_point int8          w = scale · (q − z)
 *     Float8Tensor               qdata float8, scale                                     w = scale · q
 *     Int4Tensor                 qdata [N, K / 2], the first in the low bits; scale and zero_point [K / group, N]
 *                                                                      w = scale · q + zero_point, q from −8 to 7
 *     MXTensor                   qdata float8 or [N, K / 2] of 4-bit floats; scale of 32 columns, a power of two
 *     NVFP4Tensor                qdata [N, K / 2]; scale float8 of 16 columns, times per_tensor_scale, where there is one
 *
 * Scales of the last two may be swizzled: in tiles of 128 rows and 4 columns, padded, byte (r mod 32) · 16 +
 * ⌊r / 32⌋ · 4 + c of a tile.
 * Source: torchao 0.18, quantization/quantize_/workflows and prototype/mx_formats.
 */

/** Where a weight is stored. */
export interface StoredLayer {
  /** Of the model's weight. */
  readonly shape: Shape
  /** A tensor of the layer: `_weight_scale`. */
  stored(part: string): TensorInfo | undefined
}

/** How a layer is read. */
export interface TorchaoLayer {
  readonly weight: QuantizedWeight
  /** How torchao rounds what the layer takes. */
  readonly computeDtype?: ComputeDType
  /** What torchao does with it, and lowbit does not. */
  readonly warning?: string
}

/** The subclasses that lowbit reads, by the names that their files say. */
export const subclasses: Readonly<Record<string, (data: JsonObject, layer: StoredLayer) => TorchaoLayer>> = {
  Int8Tensor: int8Layer,
  IntxUnpackedToInt8Tensor: intxLayer,
  Float8Tensor: float8Layer,
  Int4Tensor: int4Layer,
  MXTensor: mxLayer,
  NVFP4Tensor: nvfp4Layer,
}

/** What the weight of a subclass is made of. */
interface Made {
  readonly type: QType
  readonly block: Block
  readonly dtype: FloatDType
  readonly offset?: OffsetKind
  readonly kind?: string
  readonly parts: readonly Part[]
  /** Codes [N, K], scales and offsets of what `parts` are called by. */
  make(tensors: Readonly<Record<string, Tensor>>): Pick<WeightParts, 'codes' | 'scale' | 'offset'>
  /** Checks values before. */
  check?(parts: PartReader, tensors: Readonly<Record<string, Tensor>>): Promise<void>
}

function weightOf(shape: Shape, made: Made): QuantizedWeight {
  const { type, block, dtype, offset = null, kind = type.name, parts } = made
  return {
    facts: { qtype: type, shape, block, offset },
    dtype,
    kind: `${kind}, ${showBlock(block, shape)}`,
    parts,
    async read(reader) {
      const tensors: Record<string, Tensor> = {}
      for (const { name } of parts) tensors[name.slice(prefix.length)] = await reader.tensor(name)
      await made.check?.(reader, tensors)
      return scope(() => keep(QTensor.fromParts({ type, shape, dtype, block, ...made.make(tensors) })))
    },
  }
}

const prefix = '_weight_'

function part(name: string, dtypes: readonly StoredDType[], shape: Shape): Part {
  return { name: prefix + name, dtypes, shape }
}

const floats: readonly FloatDType[] = ['float32', 'float16', 'bfloat16']

/** A float dtype that an attribute names. */
function dtypeOf(data: JsonObject, key: string): FloatDType {
  const dtype = data.object(key).string('_data')
  if (!isFloatDType(dtype)) throw data.error(key, 'must be float32, float16 or bfloat16')
  return dtype
}

/** The block of `block_size`. */
function blockOf(data: JsonObject, shape: Shape): Block {
  const [N, K] = matrixShape(shape)
  const sizes = data.counts('block_size', [])
  const [rows, columns] = sizes.length === 0 ? [N, K] : sizes
  if (sizes.length > 2 || !(rows > 0 && columns > 0) || N % rows !== 0 || K % columns !== 0)
    throw data.error('block_size', `must divide the weight's [${N},${K}]`)
  return rows === 1 ? { kind: 'group', size: columns } : { kind: 'tile', rows, columns }
}

/** Refuses what is multiplied into the layer's inputs. */
function refuseInputs(data: JsonObject, { stored }: StoredLayer): void {
  for (const name of ['act_pre_scale', 'act_quant_scale', 'act_quant_zero_point'])
    if (stored(prefix + name))
      throw data.error(name, 'must be absent: lowbit has no scales of inputs in torchao’s files')
}

function int8Layer(data: JsonObject, layer: StoredLayer): TorchaoLayer {
  const { shape, stored } = layer
  refuseInputs(data, layer)
  const block = blockOf(data, shape)
  const blocks = blocksShape(block, shape)
  const zeros = stored(`${prefix}zero_point`) ? [part('zero_point', ['int8'], blocks)] : []
  const weight = weightOf(shape, {
    ...{ type: qint8, block, dtype: dtypeOf(data, 'dtype') },
    parts: [part('qdata', ['int8'], shape), part('scale', floats, blocks), ...zeros],
    make: ({ qdata, scale }) => ({ codes: qdata.view(matrixShape(shape)), scale: { values: scale } }),
    async check(parts, { zero_point }) {
      if (zero_point) await checkCodes(parts, zeros[0].name, zero_point, [0, 0])
    },
  })
  return { weight, ...roundedInputs(data, 'SYMMETRIC', 'int8PerToken') }
}

/** What `act_quant_kwargs` says: a scale for each token, or what lowbit does not do. */
function roundedInputs(
  data: JsonObject,
  mapping: string | null,
  computeDtype: ComputeDType,
): Pick<TorchaoLayer, 'computeDtype' | 'warning'> {
  if (!data.has('act_quant_kwargs')) return {}
  const inputs = data.object('act_quant_kwargs').object('_data')
  const isPerToken = inputs.has('granularity') && inputs.object('granularity').get('_type') === 'PerRow'
  const hasMapping = mapping === null || inputs.object('mapping_type').get('_data') === mapping
  const isWhole =
    inputs.get('reduce_range') !== true && !inputs.has('hp_value_lb') && !inputs.has('hp_value_ub')
  const float8 = inputs.has('float8_dtype') ? inputs.object('float8_dtype').get('_data') : 'float8_e4m3fn'
  if (float8 !== 'float8_e4m3fn') return { warning: unrounded(show(float8)) }
  if (isPerToken && hasMapping && isWhole) return { computeDtype }
  return {
    warning: unrounded(
      `${computeDtype.startsWith('int8') ? 'int8' : 'float8'} otherwise than a token at a time`,
    ),
  }
}

function unrounded(how: string): string {
  return `load: torchao rounds what some layers take to ${how}; lowbit computes them with floats`
}

function intxLayer(data: JsonObject, layer: StoredLayer): TorchaoLayer {
  const { shape } = layer
  const target = data.object('target_dtype')
  const bits = Number(/^int([1-8])$/.exec(target.string('_data'))?.[1])
  if (!bits) throw target.error('_data', 'must be int1 to int8')
  const block = blockOf(data, shape)
  const blocks = blocksShape(block, shape)
  const half = 2 ** (bits - 1)
  const raised = (values: Tensor, sizes: Shape) => addToCodes(values, bits, half).view(sizes)
  const weight = weightOf(shape, {
    ...{ type: unsignedType(bits), block, dtype: dtypeOf(data, 'dtype'), offset: 'zeroPoint' },
    kind: `int${bits}, zero points`,
    parts: [
      part('qdata', ['int8'], shape),
      part('scale', floats, blocks),
      part('zero_point', ['int8'], blocks),
    ],
    make: ({ qdata, scale, zero_point }) => ({
      codes: raised(qdata, matrixShape(shape)),
      scale: { values: scale },
      offset: { kind: 'zeroPoint', values: raised(zero_point, blocks) },
    }),
    async check(parts, tensors) {
      for (const name of ['qdata', 'zero_point'])
        await checkCodes(parts, prefix + name, tensors[name], [-half, half - 1])
    },
  })
  if (!data.has('activation_quantization')) return { weight }
  if (enumOf(data, 'activation_quantization') !== 'int8_asym_per_token')
    throw data.error('activation_quantization', 'must be int8_asym_per_token')
  return { weight, computeDtype: 'int8AsymmetricPerToken' }
}

/** An enum's value: a word, or an object that names it in capitals. */
function enumOf(data: JsonObject, key: string): string {
  const value = data.get(key)
  return typeof value === 'string' ? value : data.object(key).string('_data').toLowerCase()
}

function float8Layer(data: JsonObject, { shape, stored }: StoredLayer): TorchaoLayer {
  const type = stored(`${prefix}qdata`)?.dtype === 'float8_e5m2' ? qfloat8_e5m2 : qfloat8_e4m3fn
  const block = blockOf(data, shape)
  const found = stored(`${prefix}scale`)?.shape ?? []
  const blocks = blocksShape(block, shape)
  const weight = weightOf(shape, {
    ...{ type, block, dtype: dtypeOf(data, 'dtype') },
    parts: [
      part('qdata', [type.dtype], shape),
      // One scale has any number of dimensions.
      part('scale', floats, numel(blocks) === 1 && numel(found) === 1 ? found : blocks),
    ],
    make: ({ qdata, scale }) => ({
      codes: qdata.view(matrixShape(shape)),
      scale: { values: scale.view(blocks) },
    }),
  })
  return { weight, ...roundedInputs(data, null, 'float8PerToken') }
}

function int4Layer(data: JsonObject, layer: StoredLayer): TorchaoLayer {
  const { shape, stored } = layer
  refuseInputs(data, layer)
  const block = blockOf(data, shape)
  if (block.kind !== 'group') throw data.error('block_size', 'must be groups of columns')
  const [N, K] = matrixShape(shape)
  const groups = [K / block.size, N]
  const scale = stored(`${prefix}scale`)?.dtype
  const weight = weightOf(shape, {
    ...{ type: qint4, block, dtype: scale !== undefined && isFloatDType(scale) ? scale : 'bfloat16' },
    offset: 'shift',
    parts: [
      part('qdata', ['int8', 'uint8'], [N, K / 2]),
      part('scale', floats, groups),
      part('zero_point', floats, groups),
    ],
    make: (tensors) => {
      const [s, z] = [tensors.scale, tensors.zero_point].map((each) => transpose(cast(each, 'float32'), 0, 1))
      const codes = unpackCodes(tensors.qdata, lowFirst(N, K)).view([N, K])
      // Of codes from 0 up, w = scale · (q − 8) + zero.
      const shift = add(mul(s, 8), neg(z))
      return {
        codes: addToCodes(codes, 4, 8),
        scale: { values: s },
        offset: { kind: 'shift', values: shift },
      }
    },
  })
  const rounds = data.has('activation_dtype') && data.object('activation_dtype').get('_data') !== 'bfloat16'
  return { weight, ...(rounds && { warning: unrounded('float8') }) }
}

/** Packed 4-bit floats, or one a byte. */
function blockFloats(type: QType, shape: Shape): { qdata: Part; codes(qdata: Tensor): Tensor } {
  const [N, K] = matrixShape(shape)
  if (type !== e2m1)
    return { qdata: part('qdata', [type.dtype], shape), codes: (qdata) => qdata.view([N, K]) }
  return {
    qdata: part('qdata', ['uint8'], [N, K / 2]),
    codes: (qdata) => unpackCodes(qdata, lowFirst(N, K)).view([N, K]),
  }
}

/** The part that holds scales [N, K / size], and how they are brought in that order. */
function blockScales(data: JsonObject, dtype: DType, shape: Shape, size: number) {
  const [N, K] = matrixShape(shape)
  const columns = K / size
  if (data.get('is_swizzled_scales') !== true)
    return { scale: part('scale', [dtype], [N, columns]), ordered: (values: Tensor) => values }
  const [tileRows, tileColumns] = [Math.ceil(N / 128), Math.ceil(columns / 4)]
  const ordered = (values: Tensor) => {
    const tiles = permute(values.view([tileRows, tileColumns, 32, 4, 4]), [0, 3, 2, 1, 4])
    return slice(slice(tiles.view([128 * tileRows, 4 * tileColumns]), 0, 0, N), 1, 0, columns)
  }
  return { scale: part('scale', [dtype], [32 * tileRows, 16 * tileColumns]), ordered }
}

function mxLayer(data: JsonObject, { shape }: StoredLayer): TorchaoLayer {
  const types: Record<string, QType> = {
    float8_e4m3fn: qfloat8_e4m3fn,
    float8_e5m2: qfloat8_e5m2,
    float4_e2m1fn_x2: e2m1,
  }
  const element = data.object('elem_dtype').string('_data')
  if (!Object.hasOwn(types, element))
    throw data.error('elem_dtype', `must be ${Object.keys(types).join(' or ')}`)
  const type = types[element]
  checkSize(data, 32, shape)
  const { qdata, codes } = blockFloats(type, shape)
  const { scale, ordered } = blockScales(data, 'float8_e8m0fnu', shape, 32)
  const weight = weightOf(shape, {
    ...{ type, block: { kind: 'group', size: 32 }, dtype: dtypeOf(data, 'orig_dtype') },
    kind: type === e2m1 ? 'mxfp4' : 'mxfp8',
    parts: [qdata, scale],
    make: (tensors) => ({ codes: codes(tensors.qdata), scale: { values: ordered(tensors.scale) } }),
  })
  return { weight, ...(data.has('act_quant_kwargs') && { warning: unrounded('MX floats') }) }
}

function nvfp4Layer(data: JsonObject, { shape, stored }: StoredLayer): TorchaoLayer {
  checkSize(data, 16, shape)
  const { qdata, codes } = blockFloats(e2m1, shape)
  const { scale, ordered } = blockScales(data, 'float8_e4m3fn', shape, 16)
  const whole = stored(`${prefix}per_tensor_scale`) ? [part('per_tensor_scale', ['float32'], [])] : []
  const weight = weightOf(shape, {
    ...{ type: e2m1, block: { kind: 'group', size: 16 }, dtype: dtypeOf(data, 'orig_dtype') },
    kind: 'nvfp4',
    parts: [qdata, scale, ...whole],
    make: ({ per_tensor_scale: values, ...tensors }) => {
      const scales = ordered(tensors.scale)
      return {
        codes: codes(tensors.qdata),
        scale: values
          ? { codes: scales, blockSize: scales.numel, values: values.view([1]) }
          : { values: scales },
      }
    },
  })
  return { weight, ...(data.has('act_quant_kwargs') && { warning: unrounded('NVFP4') }) }
}

/** @throws FormatError unless `block_size` is that of the format, and divides the columns */
function checkSize(data: JsonObject, size: number, shape: Shape): void {
  const [, K] = matrixShape(shape)
  if (data.count('block_size') !== size || K % size !== 0)
    throw data.error('block_size', `must be ${size}, and divide the weight's ${K} columns`)
}
