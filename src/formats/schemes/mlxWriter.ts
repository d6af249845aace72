import type { FloatDType } from '../../core/dtype.ts'
import {
  type QType,
  qint2,
  qint3,
  qint4,
  qint5,
  qint6,
  qint8,
  quint8,
  unsignedType,
} from '../../core/qtype.ts'
import { wordRows } from '../../qtensor/packing.ts'
import { matrixShape, type PlainScale, rowBlock, showBlock } from '../../qtensor/parts.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { decodeRows } from '../../qtensor/rows.ts'
import { cast, expand, neg } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import { groupsIn, packedFromZero, zeroPointsFromZero } from './integerCodes.ts'
import { affineBits, affineGroups, floatModes } from './mlxModes.ts'
import type { LayerToWrite, PartToWrite, SchemeWriter, Target, WeightKind } from './scheme.ts'
import { keepsValues } from './weightKind.ts'
import { unloadable, weightPart } from './writing.ts'

/** What `convert` makes of weights that go over otherwise, as `mx.quantize` does. */
const target = (weights: QType): Target => ({
  ...{ weights, groupSize: 64, algorithm: 'mlx' },
  holds: ({ qtype }) => qtype.bits === weights.bits,
})

/** Writes models as mlx-lm does: the tensors that mlx.ts draws, and config.json. */
export const mlxWriter: SchemeWriter = {
  types: [...affineBits.map(unsignedType), qint8, ...Object.values(floatModes).map(({ type }) => type)],
  layers: ['Linear', 'Embedding'],
  targets: {
    mlx: { ...target(qint4), holds: () => true },
    'mlx:2bit': target(qint2),
    'mlx:3bit': target(qint3),
    'mlx:5bit': target(qint5),
    'mlx:6bit': target(qint6),
    'mlx:8bit': target(quint8),
  },
  refuses: refusal,
  roundsAlike: (weight) =>
    floatMode(weight) !== undefined || (weight.offset === 'shift' && weight.scaleDtype === weight.dtype),
  fits: misfit,
  parts: ({ weight }) => (weight ? partsOf(weight) : []),
  repeats: () => false,
  settings: (layers) => {
    const quantization = settingsOf(layers)
    return { quantizationConfig: quantization, config: { quantization } }
  },
  limits: (layers) => unloadable('mlx-lm', layers, ({ typeName }) => /^Q(Linear|Embedding)$/.test(typeName)),
}

/** The mode other than affine in which a weight is MLX's; undefined if there is none. */
function floatMode({ qtype, block, shape, scaleDtype, offset }: WeightKind): string | undefined {
  if (offset !== null) return undefined
  const modes = Object.entries(floatModes)
  return modes.find(
    ([, mode]) =>
      mode.type === qtype && mode.groupSize === rowBlock(block, shape) && mode.scales === scaleDtype,
  )?.[0]
}

/** Columns of a group in the file: a row's scale is repeated. */
function groupSizeOf(weight: WeightKind): number | undefined {
  const { size } = groupsIn(weight)
  return affineGroups.toReversed().find((columns) => size % columns === 0)
}

function refusal(weight: WeightKind): string | null {
  const { qtype, shape, block, offset, reordered } = weight
  const [, columns] = matrixShape(shape)
  if (shape.length !== 2) return 'it is of a convolution, and MLX takes linear layers and embeddings'
  if (reordered) return 'its columns are reordered, and MLX takes them in order'
  if (floatMode(weight)) return null
  if (!affineBits.includes(qtype.bits) || (qtype.values !== 'unsigned' && qtype !== qint8))
    return `it is ${qtype.name}, and MLX takes integers of 1 to 6 and 8 bits, and mxfp4, mxfp8 and nvfp4`
  const size = rowBlock(block, shape)
  if (size === null || columns % size !== 0 || groupSizeOf(weight) === undefined)
    return `it has ${showBlock(block, shape)} of ${columns} columns, and MLX takes groups of ${affineGroups.join(', ')}`
  return offset === 'zero' ? 'it has float zero points, and MLX adds biases to what is scaled' : null
}

/** Integer zero points become biases −scale · z, which are exact in float32 where scales are halves. */
async function misfit(weight: QTensor): Promise<string | null> {
  if (
    weight.heldOffset?.kind === 'shift' ||
    weight.qtype.values === 'codebook' ||
    weight.qtype.values === 'float'
  )
    return null
  const scale = weight.scale('float32')
  const kept = (await keepsValues(scale, 'float16')) || (await keepsValues(scale, 'bfloat16'))
  scale.dispose()
  return kept ? null : 'its scales are no halves, and biases of its zero points would be rounded'
}

function partsOf(kind: WeightKind): PartToWrite[] {
  const { qtype, shape } = kind
  const [N, K] = matrixShape(shape)
  const mode = floatMode(kind)
  const part = (
    name: string,
    dtype: PartToWrite['dtype'],
    columns: number,
    make: (weight: QTensor) => Tensor,
  ) => weightPart(name, dtype, [N, columns], make)
  const words = part('weight', 'U32', (K * qtype.bits) / 32, (weight) =>
    mode
      ? weight.packedCodes(wordRows(N, K, qtype.bits))
      : packedFromZero(weight, wordRows(N, K, qtype.bits)),
  )
  if (mode)
    return [
      words,
      part(
        'scales',
        'uint8',
        K / floatModes[mode].groupSize,
        (weight) => (weight.parts().scale as PlainScale).values,
      ),
    ]
  const { dtype } = kind
  const groups = K / (groupSizeOf(kind) ?? K)
  return [
    words,
    part('scales', dtype, groups, (weight) => repeated(weight.scale(dtype), N, groups)),
    part('biases', dtype, groups, (weight) => repeated(biasOf(weight, dtype), N, groups)),
  ]
}

/** −shift, or −scale · z. */
function biasOf(weight: QTensor, dtype: FloatDType): Tensor {
  return scope(() => {
    const shift = weight.heldOffset?.kind === 'shift' ? weight.shift('float32') : null
    return cast(neg(shift ?? products(weight)), dtype)
  })
}

/** scale · z of zero points from 0 up, float32. */
function products(weight: QTensor): Tensor {
  const scale = weight.scale('float32')
  const count = scale.numel
  const zeroPoint = zeroPointsFromZero(weight, count / weight.shape[0])
  return decodeRows(zeroPoint.view([count, 1]), { scale: scale.view([count]) }, quint8)
}

/** Values of a row's groups, each as often as its group is cut. */
function repeated(values: Tensor, N: number, groups: number): Tensor {
  const held = values.numel / N
  return expand(values.view([N, held, 1]), [N, held, groups / held]).view([N, groups])
}

/** The settings of most layers, and of each other one by its path. */
function settingsOf(layers: ReadonlyMap<string, LayerToWrite>): Record<string, unknown> {
  const each = [...layers].flatMap(([path, { weight }]) =>
    weight ? [[path, settingOf(weight)] as const] : [],
  )
  const counts = new Map<string, number>()
  for (const [, setting] of each) {
    const text = JSON.stringify(setting)
    counts.set(text, (counts.get(text) ?? 0) + 1)
  }
  const [most] = [...counts].sort(([, a], [, b]) => b - a)[0] ?? [
    JSON.stringify({ group_size: 64, bits: 4, mode: 'affine' }),
  ]
  return {
    ...JSON.parse(most),
    ...Object.fromEntries(each.filter(([, setting]) => JSON.stringify(setting) !== most)),
  }
}

function settingOf(weight: WeightKind): Record<string, unknown> {
  const mode = floatMode(weight) ?? 'affine'
  const size = mode === 'affine' ? groupSizeOf(weight) : floatModes[mode].groupSize
  return { group_size: size, bits: weight.qtype.bits, mode }
}
