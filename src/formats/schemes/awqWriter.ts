import { FormatError } from '../../core/errors.ts'
import { qint4 } from '../../core/qtype.ts'
import { evenFirstRows, packCodes, wordRows } from '../../qtensor/packing.ts'
import { matrixShape } from '../../qtensor/parts.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { cast, concat, transpose } from '../../tensor/ops/index.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { zeroWords } from './awqLayouts.ts'
import {
  groupsIn,
  isSymmetric,
  misfitScales,
  packedFromZero,
  refusedIntegers,
  zeroPointsFromZero,
} from './integerCodes.ts'
import { floatLinears, isHead, isLinear } from './linearLayers.ts'
import type { FloatLayer, LayerToWrite, PartToWrite, SchemeWriter, Target, WeightKind } from './scheme.ts'
import { unloadable, weightPart } from './writing.ts'

const format = { name: 'AWQ', bits: [4] }

/** What `convert` makes of weights that AWQ cannot hold. */
const target: Target = { weights: qint4, groupSize: 128, zeroPoints: true, scaleDtype: 'float16' }

/** Writes models as AutoAWQ does in one of its layouts, which awq.ts draws: the tensors, and config.json. */
export function awqWriter(version: 'gemm' | 'gemv'): SchemeWriter {
  return {
    types: [qint4],
    targets: { [version === 'gemm' ? 'awq' : 'awq_gemv']: target },
    refuses: (weight) => refusal(weight, version),
    // Readers here multiply in float32.
    roundsAlike: () => false,
    fits: (weight) => misfitScales(weight, 'float16', 'AWQ'),
    parts: ({ weight }) => (weight ? (version === 'gemm' ? gemmParts : gemvParts)(weight) : []),
    repeats: () => false,
    settings: (layers, floats) => ({ quantizationConfig: configOf(version, layers, floats) }),
    limits: (layers) =>
      unloadable('AutoAWQ', layers, ({ typeName, path }) => isLinear(typeName) && !isHead(path)),
  }
}

function refusal(weight: WeightKind, version: 'gemm' | 'gemv'): string | null {
  const refused = refusedIntegers(weight, format)
  if (refused) return refused
  if (weight.reordered) return 'its columns are reordered, and AWQ takes them in order'
  const [out, columns] = matrixShape(weight.shape)
  const { size } = groupsIn(weight)
  if (columns % size !== 0) return `its ${columns} columns are no whole groups of ${size}, as AWQ's are`
  if (out % 8 !== 0) return `it has ${out} rows, and AWQ takes multiples of 8`
  if (version === 'gemm') return null
  if (columns % 8 !== 0) return `it has ${columns} columns, and gemv takes multiples of 8`
  return size === 32 || size === 64 || size >= 128
    ? null
    : `it has groups of ${size}, and gemv takes 32, 64, 128 and larger ones`
}

function gemmParts(kind: WeightKind): PartToWrite[] {
  const [out, columns] = matrixShape(kind.shape)
  const { groups } = groupsIn(kind)
  return [
    weightPart('qweight', 'int32', [columns, out / 8], (weight) =>
      packedFromZero(weight, evenFirstRows(columns, out)),
    ),
    weightPart('qzeros', 'int32', [groups, out / 8], (weight) =>
      packCodes(zeroPointsFromZero(weight, groups), evenFirstRows(groups, out)),
    ),
    weightPart('scales', 'float16', [groups, out], (weight) =>
      transpose(cast(scalesOf(weight, groups), 'float16'), 0, 1),
    ),
  ]
}

function gemvParts(kind: WeightKind): PartToWrite[] {
  const [out, columns] = matrixShape(kind.shape)
  const { groups, size } = groupsIn(kind)
  const words = zeroWords({ shape: kind.shape, size })
  const fill = 8 * words - groups
  return [
    weightPart('qweight', 'int32', [out, columns / 8], (weight) =>
      packedFromZero(weight, wordRows(out, columns, 4)),
    ),
    weightPart('qzeros', 'int32', [out, words], (weight) => {
      const nothing = Tensor.fromArray(weight.device, new Uint8Array(out * fill), [out, fill])
      const zeroPoint = zeroPointsFromZero(weight, groups)
      return packCodes(fill > 0 ? concat([zeroPoint, nothing], 1) : zeroPoint, wordRows(out, 8 * words, 4))
    }),
    weightPart('scales', 'float16', [out, 8 * words], (weight) => {
      const scales = scalesOf(weight, groups)
      const nothing = Tensor.full(weight.device, [out, fill], 0)
      return cast(fill > 0 ? concat([scales, nothing], 1) : scales, 'float16')
    }),
  ]
}

/** [N, groups] float32 */
function scalesOf(weight: QTensor, groups: number): Tensor {
  return weight.scale('float32').view([weight.shape[0], groups])
}

/** @throws FormatError unless all layers have groups of one size: AWQ has no settings of single layers */
function configOf(
  version: 'gemm' | 'gemv',
  layers: ReadonlyMap<string, LayerToWrite>,
  floats: readonly FloatLayer[],
): Record<string, unknown> {
  const weights = [...layers.values()].flatMap(({ weight }) => weight ?? [])
  const excluded = floatLinears(floats)
  return {
    bits: 4,
    group_size: commonGroupSize(layers),
    modules_to_not_convert: excluded.length > 0 ? excluded : null,
    quant_method: 'awq',
    version,
    zero_point: !(weights.length > 0 && weights.every(isSymmetric)),
  }
}

function commonGroupSize(layers: ReadonlyMap<string, LayerToWrite>): number {
  const sizes = new Map<number, string>()
  let longestRow = 0
  for (const [path, { weight }] of layers) {
    if (!weight) continue
    const { size, groups } = groupsIn(weight)
    if (groups > 1) sizes.set(size, path)
    else longestRow = Math.max(longestRow, size)
  }
  const [[size, path] = [-1, ''], another] = sizes
  if (!another && (size === -1 || size >= longestRow)) return size
  const other = another ? `${another[1]} of ${another[0]}` : `others of a row of ${longestRow}`
  throw new FormatError(`save: AWQ must have groups of one size; ${path} has groups of ${size}, ${other}`)
}
