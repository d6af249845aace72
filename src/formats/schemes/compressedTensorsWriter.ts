import { several } from '../../core/lists.ts'
import { e2m1, qfloat8_e4m3fn, qint4, qint8, unsignedTypes } from '../../core/qtype.ts'
import { addToCodes, lowFirst, packCodes, wordColumns, wordRows } from '../../qtensor/packing.ts'
import { isNested, matrixShape } from '../../qtensor/parts.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { cast, transpose } from '../../tensor/ops/index.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { type Layout, layerTypes, layoutOf } from './compressedTensorsLayouts.ts'
import { packedFromZero } from './integerCodes.ts'
import type { FloatLayer, LayerToWrite, PartToWrite, SchemeWriter, WeightKind } from './scheme.ts'
import { weightPart } from './writing.ts'

const activations = [qint8, qfloat8_e4m3fn] as const

/** Writes models as llm-compressor saves them: the same tensors, byte by byte. */
export const compressedTensorsWriter: SchemeWriter = {
  types: [...unsignedTypes, qint8, qfloat8_e4m3fn, e2m1],
  activations,
  reads: layerTypes,
  targets: {
    'compressed-tensors': {
      ...{ weights: qint4, groupSize: 128, algorithm: 'minmax', zeroPoints: true, symmetric: true },
      holds: ({ qtype }) => qtype.values !== 'float' && qtype !== e2m1,
    },
    'compressed-tensors:w8a8': {
      ...{ weights: qint8, groupSize: null, algorithm: 'minmax', computeDtype: 'int8PerToken' },
      holds: ({ qtype }) => qtype === qint8,
    },
    'compressed-tensors:fp8': {
      ...{ weights: qfloat8_e4m3fn, groupSize: null, algorithm: 'minmax', computeDtype: 'float8PerToken' },
      holds: ({ qtype }) => qtype === qfloat8_e4m3fn,
    },
    'compressed-tensors:fp8-block': {
      ...{ weights: qfloat8_e4m3fn, groupSize: 128, blockRows: 128, algorithm: 'minmax' },
      holds: ({ qtype, block }) => qtype === qfloat8_e4m3fn && block.kind === 'tile',
    },
    'compressed-tensors:mxfp4': {
      ...{ weights: e2m1, groupSize: 32, algorithm: 'mxfp4Minmax' },
      holds: ({ qtype, block }) => qtype === e2m1 && block.kind === 'group' && block.size === 32,
    },
    'compressed-tensors:nvfp4': {
      ...{ weights: e2m1, groupSize: 16, algorithm: 'nvfp4Minmax' },
      holds: ({ qtype, block }) => qtype === e2m1 && block.kind === 'group' && block.size === 16,
    },
  },
  refuses(weight) {
    const layout = layoutOf(weight, false)
    return typeof layout === 'string' ? layout : null
  },
  // Scales of 8 bits say no dtype: the library multiplies in bfloat16.
  roundsAlike: ({ dtype, scaleDtype }) => scaleDtype === dtype || dtype === 'bfloat16',
  computes: ({ computeDtype }) => inputsOf(computeDtype) !== null,
  parts: (layer) => (layer.weight ? partsOf(layer, layer.weight) : []),
  repeats: () => true,
  settings: (layers, floats) => ({ quantizationConfig: configOf([...layers.values()], floats) }),
  limits: (layers) => limitsOf([...layers.values()]),
}

/** Whether a layer's inputs are rounded. */
function isRounded({ activations, computeDtype }: LayerToWrite): boolean {
  return activations !== null || inputsOf(computeDtype) !== null
}

/** How inputs are rounded anew in every pass, as the library says it; null where they are not. */
function inputsOf(computeDtype: LayerToWrite['computeDtype']): object | null {
  const token = { num_bits: 8, strategy: 'token', group_size: null, dynamic: true }
  if (computeDtype === 'int8PerToken') return { ...token, type: 'int', symmetric: true }
  if (computeDtype === 'int8AsymmetricPerToken') return { ...token, type: 'int', symmetric: false }
  return computeDtype === 'float8PerToken' ? { ...token, type: 'float', symmetric: true } : null
}

function partsOf(layer: LayerToWrite, weight: WeightKind): PartToWrite[] {
  const layout = layoutOf(weight, isRounded(layer)) as Layout
  const scale = weightPart('weight_scale', weight.dtype, layout.scaleShape, (w) => w.scale())
  const inputScale: PartToWrite[] = layer.activations
    ? [
        {
          ...{ name: 'input_scale', dtype: layer.dtype, shape: [1], of: 'layer' },
          make: ({ device, inputScale: values }) =>
            cast(values ?? Tensor.full(device, [], 1), layer.dtype).view([1]),
        },
      ]
    : []
  if (layout.format === 'pack-quantized') return [...wordParts(weight, layout), scale, ...inputScale]
  return [...byteParts(weight, layout, scale), ...inputScale]
}

/** Drawn at `packedWeight`. */
function wordParts({ qtype, shape }: WeightKind, { scaleShape, symmetric, args }: Layout) {
  const { bits, unsigned } = qtype
  const [N, K] = matrixShape(shape)
  const words = (codes: number) => Math.ceil((codes * bits) / 32)
  // int8's codes are the integers themselves.
  const above = (codes: Tensor) => (unsigned ? codes : addToCodes(codes, bits, 2 ** (bits - 1)))
  const groups = scaleShape[1] ?? 1
  const zeroPoint =
    args.strategy === 'tensor'
      ? weightPart('weight_zero_point', 'int8', [1], (w) => {
          const values = w.zeroPoint() as Tensor
          return unsigned ? addToCodes(values, 8, 256 - 2 ** (bits - 1)) : values
        })
      : weightPart('weight_zero_point', 'int32', [words(N), groups], (w) => {
          const values = above((w.zeroPoint() as Tensor).view([N, groups]))
          return packCodes(transpose(values, 0, 1), wordColumns(groups, N, bits))
        })
  return [
    weightPart('weight_packed', 'int32', [N, words(K)], (w) => packedFromZero(w, wordRows(N, K, bits))),
    weightPart('weight_shape', 'int64', [2], ({ device }) =>
      Tensor.fromArray(device, BigInt64Array.of(BigInt(N), BigInt(K))),
    ),
    ...(symmetric ? [] : [zeroPoint]),
  ]
}

/** Drawn at `byteWeight` and `float4Weight`. */
function byteParts(
  { qtype, shape }: WeightKind,
  { format, scaleShape, symmetric }: Layout,
  scale: PartToWrite,
): PartToWrite[] {
  const [N, K] = matrixShape(shape)
  const stored = (dtype: PartToWrite['dtype']) => weightPart('weight_scale', dtype, scaleShape, storedScale)
  const scales =
    format === 'nvfp4-pack-quantized'
      ? [stored('float8_e4m3fn'), weightPart('weight_global_scale', 'float32', [1], globalScale)]
      : [format.startsWith('mxfp') ? stored('uint8') : scale]
  if (qtype === e2m1) {
    const make = (w: QTensor) => w.packedCodes(lowFirst(N, K))
    return [weightPart('weight_packed', 'uint8', [N, Math.ceil(K / 2)], make), ...scales]
  }
  const zeros = weightPart('weight_zero_point', 'int8', scaleShape, (w) => w.zeroPoint() as Tensor)
  return [
    weightPart('weight', qtype.dtype, [N, K], (w) => w.codes()),
    ...scales,
    ...(symmetric ? [] : [zeros]),
  ]
}

/** Scales of 8 bits as they are. */
function storedScale(weight: QTensor): Tensor {
  const { scale } = weight.parts()
  return isNested(scale) ? scale.codes : scale.values
}

/** What such scales are divided by. */
function globalScale(weight: QTensor): Tensor {
  const { scale } = weight.parts()
  return isNested(scale) ? cast(scale.values, 'float32') : Tensor.full(weight.device, [1], 1)
}

/** What config.json says: a group for all layers that are quantized alike. */
function configOf(layers: readonly LayerToWrite[], floats: readonly FloatLayer[]): Record<string, unknown> {
  const groups = new Map<string, { scheme: Record<string, unknown>; layers: LayerToWrite[] }>()
  for (const layer of layers) {
    const scheme = layer.weight && schemeOf(layer, layer.weight)
    if (!scheme) continue
    const key = JSON.stringify(scheme)
    groups.set(key, { scheme, layers: [...(groups.get(key)?.layers ?? []), layer] })
  }
  const classes = new Set(layers.map(({ typeName }) => typeName.slice(1)))
  const lists = [...groups.values()]
  const all = lists.flatMap(({ layers: of }) => of)
  const entries = lists.map(({ scheme, layers: of }, i) => {
    const targets = lists.length === 1 ? [...classes] : of.map(({ path }) => path)
    return [`group_${i}`, { ...scheme, targets }] as const
  })
  const left = floats.filter(({ typeName }) => classes.has(typeName)).map(({ path }) => path)
  const unfrozen = layers.filter((layer) => !all.includes(layer)).map(({ path }) => path)
  const formats = new Set(lists.map(({ scheme }) => scheme.format))
  return {
    config_groups: Object.fromEntries(entries),
    format: formats.size === 1 ? [...formats][0] : 'mixed-precision',
    global_compression_ratio: null,
    ignore: [...left, ...unfrozen],
    kv_cache_scheme: null,
    quant_method: 'compressed-tensors',
    quantization_status: 'compressed',
    sparsity_config: {},
    transform_config: {},
  }
}

function schemeOf(layer: LayerToWrite, weight: WeightKind): Record<string, unknown> {
  const { format, args } = layoutOf(weight, isRounded(layer)) as Layout
  const type = layer.activations?.values === 'float' ? 'float' : 'int'
  const stored = { num_bits: 8, type, symmetric: true, strategy: 'tensor', group_size: null, dynamic: false }
  const inputs = layer.activations ? stored : inputsOf(layer.computeDtype)
  return { format, input_activations: inputs, output_activations: null, weights: args }
}

/** What of a model the library does not load as it is. */
function limitsOf(layers: readonly LayerToWrite[]): string[] {
  const outputs = layers.filter(({ activations: type, outputQuantized }) => type && outputQuantized)
  if (outputs.length === 0) return []
  const listed = several(outputs.map(({ path }) => path))
  return [
    `save: compressed-tensors keeps the scales of inputs alone; outputs of ${listed} will be floats when they are loaded again`,
  ]
}
