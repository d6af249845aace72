import { qfloat8_e4m3fn, qfloat8_e5m2, qint4, qint8, unsignedTypes } from '../../core/qtype.ts'
import { numel } from '../../core/shape.ts'
import { addToCodes } from '../../qtensor/packing.ts'
import { matrixShape, showBlock } from '../../qtensor/parts.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { pythonLine } from '../json.ts'
import { middleOf } from './integerCodes.ts'
import { floatLinears, isHead } from './linearLayers.ts'
import type {
  FloatLayer,
  LayerToWrite,
  PartToWrite,
  SchemeSettings,
  SchemeWriter,
  Target,
  WeightKind,
} from './scheme.ts'
import { unloadable, weightPart } from './writing.ts'

const float8s = [qfloat8_e4m3fn, qfloat8_e5m2]

const targets: Readonly<Record<string, Target>> = {
  'torchao-int8': {
    weights: qint8,
    groupSize: null,
    algorithm: 'torchaoInt8',
    holds: ({ qtype }) => qtype === qint8,
  },
  'torchao-float8': {
    ...{ weights: qfloat8_e4m3fn, groupSize: null, algorithm: 'torchaoFloat8' },
    holds: ({ qtype }) => float8s.includes(qtype),
  },
  'torchao-int4': {
    weights: qint4,
    groupSize: 32,
    algorithm: 'torchaoIntx',
    holds: ({ qtype }) => qtype === qint4,
  },
}

/**
 * Writes models as transformers saves those that torchao quantized: tensors, texts beside them, and
 * config.json.
 */
export const torchaoWriter: SchemeWriter = {
  types: [qint8, ...float8s, ...unsignedTypes],
  targets,
  refuses: refusal,
  computes: ({ weight, computeDtype }) => weight !== null && isDynamic(weight, computeDtype),
  parts: ({ weight }) => (weight ? partsOf(weight) : []),
  repeats: () => false,
  settings: settingsOf,
  limits: (layers) =>
    unloadable('transformers with torchao', layers, ({ typeName }) => typeName === 'QLinear'),
}

/** The subclass of tensors that holds a weight. */
function subclassOf({
  qtype,
}: WeightKind): 'Int8Tensor' | 'Float8Tensor' | 'IntxUnpackedToInt8Tensor' | null {
  if (qtype === qint8) return 'Int8Tensor'
  if (float8s.includes(qtype)) return 'Float8Tensor'
  return unsignedTypes.includes(qtype) ? 'IntxUnpackedToInt8Tensor' : null
}

/** How each of them says that inputs are rounded anew in every pass, if they are. */
const dynamicInputs = {
  Int8Tensor: 'int8PerToken',
  Float8Tensor: 'float8PerToken',
  IntxUnpackedToInt8Tensor: 'int8AsymmetricPerToken',
} as const

/** Whether inputs are rounded as the subclass of the weight can say it. */
function isDynamic(weight: WeightKind, computeDtype: LayerToWrite['computeDtype']): boolean {
  const subclass = subclassOf(weight)
  return subclass !== null && dynamicInputs[subclass] === computeDtype
}

function refusal(weight: WeightKind): string | null {
  const { qtype, shape, block, offset, reordered, scaleDtype } = weight
  const subclass = subclassOf(weight)
  if (!subclass) return `it is ${qtype.name}, and torchao takes integers of 1 to 8 bits and float8`
  if (shape.length !== 2) return 'it is of a convolution, and torchao takes linear layers'
  if (reordered) return 'its columns are reordered, and torchao takes them in order'
  if (blockSizes(weight) === null)
    return `it has ${showBlock(block, shape)}, and torchao takes whole groups and tiles`
  if (scaleDtype !== 'float32' && scaleDtype !== 'float16' && scaleDtype !== 'bfloat16')
    return `its scales are ${scaleDtype ?? 'quantized once more'}, and torchao takes plain floats`
  if (subclass !== 'IntxUnpackedToInt8Tensor')
    return offset === null
      ? null
      : `it has ${offset === 'zeroPoint' ? 'zero points' : 'shifts'}, and ${subclass} has none`
  return offset === null || offset === 'zeroPoint'
    ? null
    : 'it has floats for offsets, and torchao takes integer zero points'
}

/** `block_size`: rows and columns that share a scale; null where blocks are cut off, or are no rectangles. */
function blockSizes({ block, shape }: WeightKind): [rows: number, columns: number] | null {
  const [N, K] = matrixShape(shape)
  if (block.kind === 'comb' || (block.kind === 'run' && K % block.size !== 0)) return null
  const [rows, columns] = block.kind === 'tile' ? [block.rows, block.columns] : [1, Math.min(block.size, K)]
  return N % rows === 0 && K % columns === 0 ? [rows, columns] : null
}

function partsOf(kind: WeightKind): PartToWrite[] {
  const { qtype, shape, scaleDtype } = kind
  const [N, K] = matrixShape(shape)
  const [rows, columns] = blockSizes(kind) ?? [N, K]
  const blocks = [N / rows, K / columns]
  const float8 = float8s.includes(qtype)
  // Float8Tensor multiplies in float32, and has its scales so.
  const dtype = float8 ? 'float32' : (scaleDtype as 'float32')
  const scale = weightPart('_weight_scale', dtype, blocks, (weight) => weight.scale(dtype).view(blocks))
  if (float8) return [weightPart('_weight_qdata', qtype.dtype, [N, K], (weight) => weight.codes()), scale]
  // Codes from 0 up, and zero points with them, become integers around 0.
  const lowered = (codes: Tensor) => (qtype === qint8 ? codes : addToCodes(codes, 8, -middleOf(qtype)))
  return [
    weightPart('_weight_qdata', 'int8', [N, K], (weight) => lowered(weight.codes())),
    scale,
    weightPart('_weight_zero_point', 'int8', blocks, (weight) => {
      const held = weight.zeroPoint()?.view(blocks)
      return lowered(held ?? Tensor.fromArray(weight.device, new Uint8Array(numel(blocks)), blocks))
    }),
  ]
}

/** What Python writes of an object: `{"_type": …, "_data": …}`. */
const typed = (type: string, data: unknown) => ({ _type: type, _data: data })

/** What stands beside a weight's tensors. */
function describe(kind: WeightKind, computeDtype: LayerToWrite['computeDtype']): Record<string, unknown> {
  const type = subclassOf(kind) ?? ''
  const rounded = isDynamic(kind, computeDtype)
  const shared = { block_size: blockSizes(kind), dtype: typed('torch.dtype', kind.dtype) }
  const perRow = typed('PerRow', { dim: -1 })
  if (type === 'Float8Tensor') {
    const inputs = typed('QuantizeTensorToFloat8Kwargs', {
      float8_dtype: typed('torch.dtype', 'float8_e4m3fn'),
      granularity: perRow,
      ...{ mm_config: null, hp_value_lb: null, hp_value_ub: null },
      kernel_preference: typed('KernelPreference', 'AUTO'),
    })
    const act_quant_kwargs = rounded ? inputs : null
    const others = { mm_config: null, act_quant_kwargs, kernel_preference: typed('KernelPreference', 'AUTO') }
    return { ...typed(type, { ...shared, ...others }), _tensor_data_names: ['qdata', 'scale'] }
  }
  if (type === 'Int8Tensor') {
    const mapping_type = typed('MappingType', 'SYMMETRIC')
    const inputs = typed('QuantizeTensorToInt8Kwargs', {
      granularity: perRow,
      mapping_type,
      reduce_range: false,
    })
    const act_quant_kwargs = rounded ? inputs : null
    const data = { act_quant_kwargs, reduce_range: false, ...shared }
    return { ...typed(type, data), _tensor_data_names: ['zero_point', 'qdata', 'scale'] }
  }
  const activation_quantization = rounded ? 'int8_asym_per_token' : null
  const target_dtype = typed('torch.dtype', `int${kind.qtype.bits}`)
  const data = { target_dtype, ...shared, activation_quantization }
  return { ...typed(type, data), _tensor_data_names: ['qdata', 'scale', 'zero_point'] }
}

function settingsOf(
  layers: ReadonlyMap<string, LayerToWrite>,
  floats: readonly FloatLayer[],
): SchemeSettings {
  const quantized = [...layers].flatMap(([path, { weight, computeDtype }]) =>
    weight ? [{ name: `${path}.weight`, weight, computeDtype }] : [],
  )
  // A checkpoint of a model that is not frozen holds floats.
  if (quantized.length === 0) return {}
  const texts = quantized.map(({ name, weight, computeDtype }) => [
    name,
    pythonLine(describe(weight, computeDtype)),
  ])
  const names = pythonLine(quantized.map(({ name }) => name))
  const left = [...floats.filter(({ path }) => isHead(path)).map(({ path }) => path), ...floatLinears(floats)]
  return {
    texts: { ...Object.fromEntries(texts), tensor_names: names },
    quantizationConfig: {
      include_input_output_embeddings: quantized.some(({ name }) => isHead(name.slice(0, -'.weight'.length))),
      modules_to_not_convert: left.length > 0 ? left : null,
      quant_method: 'torchao',
      quant_type: { default: recipeOf(quantized[0]) },
      untie_embedding_weights: false,
    },
  }
}

/** What config.json says of all layers; the weights say for themselves. */
function recipeOf({ weight, computeDtype }: Pick<LayerToWrite, 'computeDtype'> & { weight: WeightKind }) {
  const recipe = (type: string, data: Record<string, unknown>) => ({ _type: type, _version: 2, _data: data })
  const [, columns] = blockSizes(weight) ?? [0, 0]
  const whole = columns === matrixShape(weight.shape)[1]
  const perRow = { _type: 'PerRow', _version: 1, _data: { dim: -1 } }
  const granularity = whole ? perRow : { _type: 'PerGroup', _version: 1, _data: { group_size: columns } }
  const subclass = subclassOf(weight)
  if (subclass === 'Int8Tensor') {
    if (!isDynamic(weight, computeDtype))
      return recipe('Int8WeightOnlyConfig', { group_size: null, granularity, set_inductor_config: true })
    return recipe('Int8DynamicActivationInt8WeightConfig', {
      ...{ act_mapping_type: typed('MappingType', 'SYMMETRIC'), granularity: perRow, reduce_range: false },
      ...{ set_inductor_config: true, weight_only_decode: false },
    })
  }
  if (subclass === 'Float8Tensor')
    return recipe('Float8WeightOnlyConfig', {
      ...{
        granularity: perRow,
        set_inductor_config: true,
        weight_dtype: typed('torch.dtype', weight.qtype.dtype),
      },
    })
  return recipe('IntxWeightOnlyConfig', {
    granularity: whole ? { _type: 'PerAxis', _version: 1, _data: { axis: 0 } } : granularity,
    intx_choose_qparams_algorithm: typed('IntxChooseQParamsAlgorithm', 'AFFINE'),
    intx_packing_format: typed('IntxPackingFormat', 'UNPACKED_TO_INT8'),
    mapping_type: typed('MappingType', 'SYMMETRIC'),
    scale_dtype: null,
    weight_dtype: typed('torch.dtype', `int${weight.qtype.bits}`),
  })
}
