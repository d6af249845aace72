import { FormatError } from '../../core/errors.ts'
import { fp4, nf4, qint8 } from '../../core/qtype.ts'
import { numel } from '../../core/shape.ts'
import { defaultOutlierThreshold } from '../../qtensor/computeDtype.ts'
import type { NestedValues } from '../../qtensor/nestedValues.ts'
import { highFirst, packCodes } from '../../qtensor/packing.ts'
import { groupSizeOf, matrixShape, showBlock } from '../../qtensor/parts.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { concat } from '../../tensor/ops/index.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { PythonFloat } from '../json.ts'
import { int8Divisor, int8Parts } from './bitsandbytesInt8.ts'
import { blockTypes, formatQuantState, stateName } from './bitsandbytesState.ts'
import { isHead, isLinear } from './linearLayers.ts'
import type { FloatLayer, LayerToWrite, PartToWrite, SchemeWriter, WeightKind } from './scheme.ts'
import { unloadable, weightPart } from './writing.ts'

/** The sizes of blocks that bitsandbytes has kernels for. */
const blockSizes = [32, 64, 128, 256, 512, 1024, 2048, 4096]

/** Writes models as transformers saves those that bitsandbytes quantized: the same tensors, byte by byte. */
export const bitsandbytesWriter: SchemeWriter = {
  types: [...blockTypes, qint8],
  layers: ['Linear', 'Conv1D'],
  divisor: int8Divisor,
  targets: {
    'bnb-nf4': { weights: nf4, holds: ({ qtype }) => qtype === nf4 },
    'bnb-nf4-double': { weights: nf4, algorithm: 'doubleQuant', holds: ({ nested }) => nested !== null },
    'bnb-fp4': { weights: fp4, holds: ({ qtype }) => qtype === fp4 },
    'bnb-int8': { weights: qint8, algorithm: 'llmInt8', holds: ({ qtype }) => qtype === qint8 },
  },
  refuses: refusal,
  // Codes of 8 bits stand for float32; blocks say what they stand for.
  roundsAlike: ({ qtype }) => qtype !== qint8,
  computes: ({ weight, computeDtype }) => weight?.qtype === qint8 && computeDtype === 'int8Outliers',
  parts: partsOf,
  repeats: () => false,
  settings: (layers, floats) => ({ quantizationConfig: configOf([...layers.values()], floats) }),
  limits: (layers) =>
    unloadable('transformers with bitsandbytes', layers, ({ typeName }) => isLinear(typeName)),
}

/** What config.json says, of a weight's type and scales as far as it can: they stand with each weight. */
function configOf(layers: readonly LayerToWrite[], floats: readonly FloatLayer[]): Record<string, unknown> {
  const weights = layers.flatMap(({ weight }) => weight ?? [])
  const blocks = weights.filter(({ qtype }) => qtype !== qint8)
  if (blocks.length > 0 && blocks.length < weights.length)
    throw new FormatError('save: bitsandbytes must hold weights of 4 bits or of 8; the model has both')
  const is8bit = weights.length > blocks.length
  return {
    _load_in_4bit: !is8bit,
    _load_in_8bit: is8bit,
    bnb_4bit_compute_dtype: 'float32',
    bnb_4bit_quant_storage: 'uint8',
    bnb_4bit_quant_type: is8bit ? 'fp4' : (weights[0]?.qtype.name ?? 'nf4'),
    bnb_4bit_use_double_quant: weights.some(({ nested }) => nested !== null),
    llm_int8_enable_fp32_cpu_offload: false,
    llm_int8_has_fp16_weight: false,
    llm_int8_skip_modules: skippedModules(layers, floats),
    llm_int8_threshold: new PythonFloat(thresholdOf(layers)),
    load_in_4bit: !is8bit,
    load_in_8bit: is8bit,
    quant_method: 'bitsandbytes',
  }
}

/** @throws FormatError where layers have different thresholds of outliers: config.json has one for all */
function thresholdOf(layers: readonly LayerToWrite[]): number {
  const thresholds = new Set(
    layers.flatMap(({ computeDtype, outlierThreshold }) =>
      computeDtype === 'int8Outliers' ? [outlierThreshold] : [],
    ),
  )
  if (thresholds.size > 1)
    throw new FormatError(
      `save: bitsandbytes must have one threshold of outliers; the layers have ${[...thresholds].join(' and ')}`,
    )
  const [threshold = defaultOutlierThreshold] = thresholds
  return threshold
}

/**
 * The layers that transformers would take to be quantized, and are not; null where that is the head alone,
 * which it leaves out unless it is told what else to leave out.
 */
function skippedModules(layers: readonly LayerToWrite[], floats: readonly FloatLayer[]): string[] | null {
  const linear = floats.filter(({ typeName }) => isLinear(typeName)).map(({ path }) => path)
  return linear.every(isHead) && !layers.some(({ path }) => isHead(path)) ? null : linear
}

/** The tensors of a frozen weight; the float of one that is not stands for itself. */
function partsOf(layer: LayerToWrite): PartToWrite[] {
  const { weight } = layer
  if (!weight) return []
  if (weight.qtype === qint8) return int8Parts(weight)
  const { qtype, shape, dtype, nested, block } = weight
  const blockSize = groupSizeOf(block)
  const count = numel(shape)
  const blocks = Math.ceil(count / blockSize)
  const codebook = qtype.codebook ?? []
  const text = new TextEncoder().encode(formatQuantState({ type: qtype, blockSize, dtype, shape, nested }))
  const scales = nested
    ? [
        weightPart('weight.absmax', 'uint8', [blocks], (held) => nestedScale(held).codes.clone()),
        weightPart('weight.nested_absmax', 'float32', [Math.ceil(blocks / nested.blockSize)], (held) =>
          nestedScale(held).values.clone(),
        ),
        weightPart('weight.nested_quant_map', 'float32', [256], (held) => nestedScale(held).codebook.clone()),
      ]
    : [weightPart('weight.absmax', 'float32', [blocks], (held) => held.scale('float32'))]
  return [
    weightPart('weight', 'uint8', [Math.ceil(count / 2), 1], (held) => packed(held, codebook)),
    ...scales,
    weightPart('weight.quant_map', 'float32', [16], ({ device }) => Tensor.fromNumbers(device, codebook)),
    weightPart(stateName(qtype), 'uint8', [text.length], ({ device }) => Tensor.fromArray(device, text)),
  ]
}

/** Scales that are quantized once more, as the weight holds them. */
function nestedScale({ heldScale: scale }: QTensor): NestedValues & { readonly codebook: Tensor } {
  if ('tensor' in scale || !scale.codebook) throw new FormatError('save: scales must be quantized once more')
  return { ...scale, codebook: scale.codebook }
}

/** Two codes a byte; a last one alone stands beside the code of 0. */
function packed(weight: QTensor, codebook: readonly number[]): Tensor {
  const { device } = weight
  const codes = weight.codes()
  const { numel: count } = codes
  const line = codes.view([count])
  const even =
    count % 2 === 0 ? line : concat([line, Tensor.fromArray(device, Uint8Array.of(codebook.indexOf(0)))], 0)
  return packCodes(even, highFirst(even.numel)).view([even.numel / 2, 1])
}

/** Dividing what float16 and other scales stand for gives other numbers, so codes of 8 bits are made anew. */
const int8Refusal = 'its int8 is not that of LLM.int8, which the algorithm llm-int8 makes'

function refusal({ qtype, shape, block, reordered, divisor, nested }: WeightKind): string | null {
  if (qtype === qint8) return divisor === null ? int8Refusal : null
  if (!blockTypes.includes(qtype)) return `it is ${qtype.name}, and bitsandbytes takes nf4, fp4 and int8`
  const [, K] = matrixShape(shape)
  const size = block.kind === 'run' || (block.kind === 'group' && K % block.size === 0) ? block.size : 0
  if (!blockSizes.includes(size))
    return `it has ${showBlock(block, shape)}, and bitsandbytes takes blocks of ${blockSizes.join(', ')} of the flattened weight`
  if (nested && !(nested.codebook && nested.codes === 'uint8' && nested.values === 'float32'))
    return 'its scales are quantized otherwise than to entries of a codebook of 256, times float32'
  return reordered ? 'its columns are reordered, and bitsandbytes takes them in order' : null
}
