import { several } from '../../core/lists.ts'
import {
  e2m1,
  qfloat8_e4m3fn,
  qint1,
  qint2,
  qint3,
  qint4,
  qint5,
  qint6,
  qint7,
  qint8,
  quint8,
} from '../../core/qtype.ts'
import { addToCodes, lowFirst, packCodes, wordColumns, wordRows } from '../../qtensor/packing.ts'
import { isNested, matrixShape } from '../../qtensor/parts.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { cast, transpose } from '../../tensor/ops/index.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { type Layout, layerTypes, layoutOf } from './compressedTensorsLayouts.ts'
import { packedFromZero } from './integerCodes.ts'
import type { FloatLayer, LayerToWrite, PartToWrite, SchemeWriter, WeightKind } from './scheme.ts'

const activations = [qint8, qfloat8_e4m3fn] as const

/** Writes models as llm-compressor saves them: the same tensors, byte by byte. */
export const compressedTensorsWriter: SchemeWriter = {
  types: [qint1, qint2, qint3, qint4, qint5, qint6, qint7, quint8, qint8, qfloat8_e4m3fn, e2m1],
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
  limits: (layers) => [...limitsOf([...layers.values()])],
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
  const part = (name: string, of: Pick<PartToWrite, 'dtype' | 'shape'>, make: (w: QTensor) => Tensor) => {
    return { name, ...of, of: 'weight', make: ({ weight: w }) => make(w as QTensor) } satisfies PartToWrite
  }
  const scale = part('weight_scale', { dtype: weight.dtype, shape: layout.scaleShape }, (w) => w.scale())
  const inputScale: PartToWrite[] = layer.activations
    ? [
        {
          ...{ name: 'input_scale', dtype: layer.dtype, shape: [1], of: 'layer' },
          make: ({ device, inputScale: values }) =>
            cast(values ?? Tensor.full(device, [], 1), layer.dtype).view([1]),
        },
      ]
    : []
  if (layout.format === 'pack-quantized') return [...wordParts(weight, layout, part), scale, ...inputScale]
  return [...byteParts(weight, layout, part, scale), ...inputScale]
}

type MakePart = (
  name: string,
  of: Pick<PartToWrite, 'dtype' | 'shape'>,
  make: (weight: QTensor) => Tensor,
) => PartToWrite

/** Drawn at `packedWeight`. */
function wordParts({ qtype, shape }: WeightKind, { scaleShape, symmetric, args }: Layout, part: MakePart) {
  const { bits, unsigned } = qtype
  const [N, K] = matrixShape(shape)
  const words = (codes: number) => Math.ceil((codes * bits) / 32)
  // int8's codes are the integers themselves.
  const above = (codes: Tensor) => (unsigned ? codes : addToCodes(codes, bits, 2 ** (bits - 1)))
  const groups = scaleShape[1] ?? 1
  const zeroPoint =
    args.strategy === 'tensor'
      ? part('weight_zero_point', { dtype: 'int8', shape: [1] }, (w) => {
          const values = w.zeroPoint() as Tensor
          return unsigned ? addToCodes(values, 8, 256 - 2 ** (bits - 1)) : values
        })
      : part('weight_zero_point', { dtype: 'int32', shape: [words(N), groups] }, (w) => {
          const values = above((w.zeroPoint() as Tensor).view([N, groups]))
          return packCodes(transpose(values, 0, 1), wordColumns(groups, N, bits))
        })
  return [
    part('weight_packed', { dtype: 'int32', shape: [N, words(K)] }, (w) =>
      packedFromZero(w, wordRows(N, K, bits)),
    ),
    part('weight_shape', { dtype: 'int64', shape: [2] }, ({ device }) =>
      Tensor.fromArray(device, BigInt64Array.of(BigInt(N), BigInt(K))),
    ),
    ...(symmetric ? [] : [zeroPoint]),
  ]
}

/** Drawn at `byteWeight` and `float4Weight`. */
function byteParts(
  { qtype, shape }: WeightKind,
  { format, scaleShape, symmetric }: Layout,
  part: MakePart,
  scale: PartToWrite,
): PartToWrite[] {
  const [N, K] = matrixShape(shape)
  const stored = (dtype: PartToWrite['dtype']) =>
    part('weight_scale', { dtype, shape: scaleShape }, storedScale)
  const scales =
    format === 'nvfp4-pack-quantized'
      ? [stored('float8_e4m3fn'), part('weight_global_scale', { dtype: 'float32', shape: [1] }, globalScale)]
      : [format.startsWith('mxfp') ? stored('uint8') : scale]
  if (qtype === e2m1) {
    const make = (w: QTensor) => w.packedCodes(lowFirst(N, K))
    return [part('weight_packed', { dtype: 'uint8', shape: [N, Math.ceil(K / 2)] }, make), ...scales]
  }
  const zeros = part(
    'weight_zero_point',
    { dtype: 'int8', shape: scaleShape },
    (w) => w.zeroPoint() as Tensor,
  )
  return [
    part('weight', { dtype: qtype.dtype, shape: [N, K] }, (w) => w.codes()),
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
function* limitsOf(layers: readonly LayerToWrite[]): Generator<string> {
  const outputs = layers.filter(({ activations: type, outputQuantized }) => type && outputQuantized)
  if (outputs.length > 0)
    yield `save: compressed-tensors keeps the scales of inputs alone; outputs of ${several(outputs.map(({ path }) => path))} will be floats when they are loaded again`
}
