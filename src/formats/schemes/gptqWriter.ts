import { several } from '../../core/lists.ts'
import { qint4, qint8, unsignedType } from '../../core/qtype.ts'
import { addToCodes, packCodes, wordColumns, wordRows } from '../../qtensor/packing.ts'
import { matrixShape } from '../../qtensor/parts.ts'
import { permuteColumns } from '../../qtensor/permuteColumns.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { cast, concat, transpose } from '../../tensor/ops/index.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { gptqConfig } from './gptqConfig.ts'
import { type GptqVersion, zerosOfRun } from './gptqSettings.ts'
import {
  codesFromZero,
  groupsIn,
  misfitScales,
  packedFromZero,
  refusedIntegers,
  zeroPointsFromZero,
} from './integerCodes.ts'
import { isLinear } from './linearLayers.ts'
import type { LayerToWrite, PartToWrite, SchemeWriter, Target, WeightKind } from './scheme.ts'
import { unloadable, weightPart } from './writing.ts'

const format = { name: 'GPTQ', bits: [2, 3, 4, 8] }

/** What `convert` makes of weights that GPTQ cannot hold. */
const target: Target = {
  weights: qint4,
  groupSize: 128,
  zeroPoints: true,
  symmetric: true,
  scaleDtype: 'float16',
}

/**
 * Writes models as GPTQModel does: the tensors that gptq.ts draws, and the settings in config.json and
 * quantize_config.json. Layers that differ from most, or stay float, stand under `dynamic`.
 */
export function gptqWriter(version: GptqVersion): SchemeWriter {
  return {
    types: [...format.bits.map(unsignedType), qint8],
    layers: ['Linear', 'Conv1D'],
    targets: { [version]: target },
    refuses: (weight) => refusedIntegers(weight, format),
    // Readers here multiply in float32.
    roundsAlike: () => false,
    fits: async (weight) => (isStored(weight) ? null : misfitScales(weight, 'float16', 'GPTQ')),
    parts: ({ weight }) => (weight ? partsOf(weight, version) : []),
    repeats: () => false,
    settings(layers, floats) {
      const config = gptqConfig(version, layers, floats)
      return {
        quantizationConfig: config,
        files: new Map([['quantize_config.json', JSON.stringify(config, null, 2)]]),
      }
    },
    limits: (layers) => [
      ...unloadable('GPTQModel', layers, ({ typeName }) => isLinear(typeName)),
      ...unevenThrees(layers),
    ],
  }
}

/** GPTQModel takes apart codes of 3 bits 32 at a time, along rows and along columns. */
function unevenThrees(layers: ReadonlyMap<string, LayerToWrite>): string[] {
  const uneven = [...layers.values()].flatMap(({ path, weight }) => {
    const isUneven = weight?.qtype.bits === 3 && matrixShape(weight.shape).some((length) => length % 32 !== 0)
    return isUneven ? [path] : []
  })
  if (uneven.length === 0) return []
  return [
    `save: GPTQModel cannot load ${several(uneven)} of 3 bits, whose rows or columns are no multiples of 32; lowbit can`,
  ]
}

/** Whether its scales stand in a file as they are. */
function isStored({ heldScale }: QTensor): boolean {
  return 'tensor' in heldScale && (heldScale.dtype === 'float16' || heldScale.dtype === 'bfloat16')
}

function partsOf(kind: WeightKind, version: GptqVersion): PartToWrite[] {
  const { qtype, shape, scaleDtype } = kind
  const { bits } = qtype
  const [out, columns] = matrixShape(shape)
  const { size, groups } = groupsIn(kind)
  const words = (codes: number) => Math.ceil((codes * bits) / 32)
  const dtype = scaleDtype === 'bfloat16' ? 'bfloat16' : 'float16'
  return [
    weightPart('qweight', 'int32', [words(columns), out], (weight) => {
      const { order } = weight
      const packing = wordColumns(out, columns, bits)
      if (!order) return packedFromZero(weight, packing)
      return packCodes(permuteColumns(codesFromZero(weight), order, 'back'), packing)
    }),
    weightPart('qzeros', 'int32', [groups, words(out)], (weight) => {
      const zeroPoint = transpose(zeroPointsFromZero(weight, groups), 0, 1)
      return packedZeros(zeroPoint, bits, version === 'gptq')
    }),
    weightPart('scales', dtype, [groups, out], (weight) =>
      transpose(cast(weight.scale('float32').view([out, groups]), dtype), 0, 1),
    ),
    weightPart('g_idx', 'int32', [columns], ({ order, device }) => {
      const inOrder = Int32Array.from({ length: columns }, (_, j) => Math.floor(j / size))
      const ofStored = Tensor.fromArray(device, inOrder, [columns], 'int32')
      return order ? permuteColumns(ofStored, order, 'back') : ofStored
    }),
  ]
}

/**
 * Words of zero points [groups, out]; one is taken from each of a word, those that fill it up among them, as
 * from a whole number.
 */
function packedZeros(zeroPoint: Tensor, bits: number, lessOne: boolean): Tensor {
  const [groups, out] = zeroPoint.shape
  const whole = bits === 3 ? out : Math.ceil((out * bits) / 32) * (32 / bits)
  const fill = Tensor.fromArray(zeroPoint.device, new Uint8Array(groups * (whole - out)), [
    groups,
    whole - out,
  ])
  const filled = whole === out ? zeroPoint : concat([zeroPoint, fill], 1)
  const stored = lessOne ? addToCodes(filled, bits, -1, zerosOfRun(bits)) : filled
  return packCodes(stored, wordRows(groups, whole, bits))
}
