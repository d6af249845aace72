import { qint2 } from '../../core/qtypes.ts'
import { numel } from '../../core/shape.ts'
import { packCodes, splitRows } from '../../qtensor/packing.ts'
import { matrixShape, showBlock } from '../../qtensor/parts.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { ternaryZero } from '../../qtensor/ternary.ts'
import { floatLinears, isHead } from './linearLayers.ts'
import type { FloatLayer, LayerToWrite, PartToWrite, SchemeWriter, WeightKind } from './scheme.ts'

/**
 * Writes models as transformers keeps BitNet's, of the class `autobitlinear`, offline: its scales multiply, so
 * that they are the weight's own.
 */
export const bitnetWriter: SchemeWriter = {
  types: [qint2],
  reads: ['Linear'],
  targets: {
    bitnet: { weights: qint2, groupSize: null, blockRows: null, algorithm: 'ternary' },
  },
  refuses: refusal,
  computes: ({ computeDtype }) => computeDtype === 'int8AbsmaxPerToken',
  parts: ({ weight }) => (weight ? partsOf(weight) : []),
  repeats: () => false,
  settings: (layers, floats) => ({ quantizationConfig: configOf([...layers.values()], floats) }),
  limits: () => [],
}

function refusal({
  qtype,
  shape,
  block,
  offset,
  zeroPoint,
  reordered,
  scaleDtype,
}: WeightKind): string | null {
  if (qtype !== qint2 || shape.length !== 2) return `it is ${qtype.name}, and BitNet takes ternary matrices`
  const [N, K] = matrixShape(shape)
  if (block.kind !== 'tile' || block.rows < N || block.columns < K)
    return `it has ${showBlock(block, shape)}, and BitNet takes one scale for the weight`
  if (offset !== 'zeroPoint' || zeroPoint !== ternaryZero)
    return `its codes are not around ${ternaryZero}, which stands for 0 in BitNet`
  if (reordered) return 'its columns are reordered, and BitNet takes them in order'
  return scaleDtype === null ? 'its scale is quantized once more, and BitNet takes a float' : null
}

/** Drawn at `bitnet`. */
function partsOf({ shape, scaleDtype }: WeightKind): PartToWrite[] {
  const [out, columns] = matrixShape(shape)
  const packing = splitRows(numel(shape), columns, qint2.bits)
  const rows = Math.ceil(out / 4)
  const dtype = scaleDtype as 'float32'
  return [
    {
      ...{ name: 'weight', dtype: 'uint8', shape: [rows, columns], of: 'weight' },
      make: ({ weight }) =>
        packCodes((weight as QTensor).codes().view([numel(shape)]), packing).view([rows, columns]),
    },
    {
      ...{ name: 'weight_scale', dtype, shape: [1], of: 'weight' },
      make: ({ weight }) => (weight as QTensor).scale(dtype).view([1]),
    },
  ]
}

function configOf(layers: readonly LayerToWrite[], floats: readonly FloatLayer[]): Record<string, unknown> {
  const quantized = layers.filter(({ weight }) => weight !== null)
  const head = quantized.some(({ path }) => isHead(path)) ? [] : ['lm_head']
  return {
    linear_class: 'autobitlinear',
    modules_to_not_convert: [...head, ...floatLinears(floats)],
    quant_method: 'bitnet',
    quantization_mode: 'offline',
    rms_norm_eps: 1e-6,
    use_rms_norm: false,
  }
}
