import { qint2, qint3, qint4, qint8, quint8, unsignedType } from '../../core/qtype.ts'
import { numel, type Shape } from '../../core/shape.ts'
import type { Device } from '../../devices/device.ts'
import { splitRowsDown } from '../../qtensor/packing.ts'
import { matrixShape, showBlock } from '../../qtensor/parts.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { decodeRows } from '../../qtensor/rows.ts'
import { cast } from '../../tensor/ops/index.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { middleOf, packedFromZero } from './integerCodes.ts'
import { floatLinears, isHead } from './linearLayers.ts'
import type { FloatLayer, LayerToWrite, PartToWrite, SchemeWriter, WeightKind } from './scheme.ts'
import { unloadable, weightPart } from './writing.ts'

/** The bits of codes. */
export const hqqBits: readonly number[] = [1, 2, 3, 4, 5, 6, 8]
const types = [...hqqBits.map(unsignedType), qint8]

/** Writes models as hqq does to safetensors: the tensors that hqq.ts draws, and config.json. */
export const hqqWriter: SchemeWriter = {
  types,
  targets: {
    hqq: { weights: qint4, groupSize: 64, algorithm: 'hqqZeros' },
    'hqq:2bit': {
      weights: qint2,
      groupSize: 64,
      algorithm: 'hqqZeros',
      holds: ({ qtype }) => qtype === qint2,
    },
    'hqq:3bit': {
      weights: qint3,
      groupSize: 64,
      algorithm: 'hqqZeros',
      holds: ({ qtype }) => qtype === qint3,
    },
    'hqq:8bit': {
      weights: quint8,
      groupSize: 64,
      algorithm: 'hqqZeros',
      holds: ({ qtype }) => qtype.bits === 8,
    },
  },
  refuses: refusal,
  roundsAlike: ({ dtype, scaleDtype }) => scaleDtype === dtype,
  parts: ({ weight }) => (weight ? partsOf(weight) : []),
  repeats: () => false,
  settings: (layers, floats) => ({ quantizationConfig: configOf(layers, floats) }),
  limits: (layers) => unloadable('hqq', layers, ({ typeName }) => typeName === 'QLinear'),
}

/** How a weight is grouped; null where HQQ has no such groups. */
function grouping({ block, shape }: WeightKind): { axis: number; size: number } | null {
  if (block.kind === 'comb') return { axis: 0, size: block.teeth }
  if (block.kind === 'tile') return null
  const [, K] = matrixShape(shape)
  const size = block.kind === 'group' ? Math.min(block.size, K) : block.size
  const whole = block.kind === 'group' ? K % size === 0 : numel(shape) % size === 0
  return whole ? { axis: 1, size } : null
}

/** The view of a weight whose rows are packed. */
function viewOf(weight: WeightKind): [rows: number, cols: number] {
  const { axis, size } = grouping(weight) ?? { axis: 1, size: 1 }
  const groups = numel(weight.shape) / size
  return axis === 1 ? [groups, size] : [size, groups]
}

function refusal(weight: WeightKind): string | null {
  const { qtype, shape, block, offset, reordered } = weight
  if (!types.includes(qtype)) return `it is ${qtype.name}, and HQQ takes integers of 1 to 6 and 8 bits`
  if (shape.length !== 2) return 'it is of a convolution, and HQQ takes linear layers'
  if (reordered) return 'its columns are reordered, and HQQ takes them in order'
  if (!grouping(weight)) return `it has ${showBlock(block, shape)}, and HQQ takes whole groups`
  const perByte = [1, 2, 4].includes(qtype.bits) ? 8 / qtype.bits : 1
  const [rows] = viewOf(weight)
  if (rows % perByte !== 0) return `it has ${rows} groups, and HQQ packs ${perByte} in a byte`
  return offset === 'shift' ? 'it has shifts, and HQQ has zero points' : null
}

function partsOf(kind: WeightKind): PartToWrite[] {
  const { qtype, shape, dtype } = kind
  const { axis, size } = grouping(kind) ?? { axis: 1, size: 1 }
  const [rows, cols] = viewOf(kind)
  const groups = numel(shape) / size
  const perGroup = axis === 1 ? [groups, 1] : [1, groups]
  const packing = splitRowsDown(rows * cols, cols, qtype.bits)
  const word = qtype.bits === 3 ? 'int32' : 'uint8'
  return [
    weightPart('W_q', word, [packing.lines / cols, cols], (weight) => packedFromZero(weight, packing)),
    weightPart('scale', dtype, perGroup, (weight) => weight.scale(dtype)),
    weightPart('zero', dtype, perGroup, (weight) => cast(zerosOf(weight, groups), dtype)),
    ...Object.entries(metaOf(kind)).map(([name, value]) => metaPart(name, value)),
  ]
}

/** The zero points of codes from 0 up, float32. */
function zerosOf(weight: QTensor, groups: number): Tensor {
  const { heldOffset, qtype, device } = weight
  if (heldOffset?.kind === 'zero') {
    const { offset } = weight.parts()
    if (offset && 'values' in offset) return cast(offset.values, 'float32')
  }
  const base = qtype.unsigned ? 0 : middleOf(qtype)
  const held = weight.zeroPoint()
  if (!held) return Tensor.full(device, [groups], base)
  const one = Tensor.full(device, [], 1)
  return decodeRows(held.view([groups]), { scale: one, shift: Tensor.full(device, [], -base) }, qtype)
}

/**
 * Numbers, words and truth as hqq encodes them, those that say how a weight was quantized with its defaults.
 */
function metaOf(kind: WeightKind): Record<string, number | string | boolean | Shape> {
  const { qtype, shape, dtype } = kind
  const { axis, size } = grouping(kind) ?? { axis: 1, size: 1 }
  const packed = qtype.bits === 3 ? '3bit_32' : `${qtype.bits < 5 ? qtype.bits : 8}bit_u8`
  return {
    ...{ nbits: qtype.bits, group_size: size, axis, shape, packing: packed, compute_dtype: `torch.${dtype}` },
    ...{ unpack_view_dtype: `torch.${qtype.bits === 3 ? 'int32' : 'uint8'}`, channel_wise: true },
    ...{
      encoded_state_dict: true,
      offload_meta: false,
      optimize: true,
      quant_scale: false,
      quant_zero: false,
    },
    ...{ round_zero: qtype.bits === 4, stores_quant_config: true, view_as_float: false },
  }
}

function metaPart(name: string, value: number | string | boolean | Shape): PartToWrite {
  const of = 'weight' as const
  const made = (make: (device: Device) => Tensor) => ({
    make: ({ device }: { device: Device }) => make(device),
  })
  if (typeof value === 'string') {
    const bytes = new TextEncoder().encode(value)
    return {
      name,
      dtype: 'uint8',
      shape: [bytes.length],
      of,
      ...made((device) => Tensor.fromArray(device, bytes)),
    }
  }
  if (typeof value === 'boolean')
    return {
      name,
      dtype: 'uint8',
      shape: [],
      of,
      ...made((device) => Tensor.fromNumbers(device, [Number(value)], [], 'uint8')),
    }
  if (typeof value === 'number')
    return {
      name,
      dtype: 'int32',
      shape: [],
      of,
      ...made((device) => Tensor.fromNumbers(device, [value], [], 'int32')),
    }
  const sizes = BigInt64Array.from(value, BigInt)
  return {
    name,
    dtype: 'int64',
    shape: [sizes.length],
    of,
    ...made((device) => Tensor.fromArray(device, sizes)),
  }
}

/** What config.json says, of the first layer as of all: they say for themselves. */
function configOf(
  layers: ReadonlyMap<string, LayerToWrite>,
  floats: readonly FloatLayer[],
): Record<string, unknown> {
  const weights = [...layers.values()].flatMap(({ weight }) => weight ?? [])
  const { axis, size } = (weights[0] && grouping(weights[0])) ?? { axis: 1, size: 64 }
  const heads = floats.filter(({ path }) => isHead(path)).map(({ path }) => path)
  return {
    quant_config: {
      weight_quant_params: {
        ...{ nbits: weights[0]?.qtype.bits ?? 4, channel_wise: true, group_size: size, optimize: true },
        ...{ round_zero: weights[0]?.qtype.bits === 4, axis, view_as_float: false },
      },
      ...{ scale_quant_params: null, zero_quant_params: null, offload_meta: false },
    },
    quant_method: 'hqq',
    skip_modules: [...heads, ...floatLinears(floats)],
  }
}
