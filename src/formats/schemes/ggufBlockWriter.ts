import { type DType, dtypes } from '../../core/dtype.ts'
import type { Shape } from '../../core/shape.ts'
import { fieldLength } from '../../kernels/layout/unpackBlocks/unpackBlocks.ts'
import { typesOfSmallerBlocks } from '../../kernels/quantize/quantizeBlocks/quantizeBlocks.ts'
import { isNested, matrixShape, type NestedScale, type Scale } from '../../qtensor/parts.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { cast, expand, neg } from '../../tensor/ops/index.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { ggufFile } from '../containers.ts'
import { findBeyond } from '../finite.ts'
import { ggufTypes } from '../ggufBlocks.ts'
import {
  type BlockField,
  type BlockScales,
  blockLayout,
  blockLayouts,
  fieldNumbers,
  type GgufBlockType,
} from '../ggufLayouts.ts'
import { type GgufMixture, ggufMixtures } from './ggufMixtures.ts'
import type { LayerToWrite, PartToWrite, SchemeWriter, Target, WeightKind } from './scheme.ts'
import { keepsValues, showKind } from './weightKind.ts'

/** The types that are written: of those of the same values the digits of TQ1_0 are not. */
const written = (Object.keys(blockLayouts) as GgufBlockType[]).filter(
  (type) => type !== 'TQ1_0' && type !== 'NVFP4',
)

/** The bits of infinity as float32. */
const infinity = 0x7f800000

/** Columns of the smallest blocks. */
const smallest = 32

/** Writes weights as GGUF's blocks; the codes of those that are such already stay bit for bit. */
export const ggufBlockWriter: SchemeWriter = {
  container: ggufFile,
  types: [...new Set(written.map((type) => blockLayout(type).type))],
  layers: ['Linear', 'Conv1D', 'Embedding'],
  targets: Object.fromEntries([
    ...written.map((most) => [
      `gguf:${most.toLowerCase()}`,
      targetOf({ most, others: [], typeOf: () => most }),
    ]),
    ...Object.entries(ggufMixtures).map(([name, mixture]) => [`gguf:${name}`, targetOf(mixture)]),
  ]),
  refuses: (weight) =>
    typeOf(weight) ? null : `it is ${showKind(weight)}, and GGUF's types have no such blocks`,
  // Blocks stand for float32.
  roundsAlike: () => false,
  fits: misfit,
  parts: partsOf,
  repeats: () => false,
  settings: () => ({}),
  limits: () => [],
}

/** The target whose weights are of types by the places of their layers. */
function targetOf({ most, others, typeOf: typeAt }: GgufMixture): Target {
  const types: (string | null)[] = [most, ...others].flatMap((type) => [
    type,
    typesOfSmallerBlocks[type] ?? type,
  ])
  const options = (type: GgufBlockType) => ({
    weights: blockLayout(type).type,
    algorithm: type.toLowerCase(),
  })
  return {
    ...options(most),
    groupSize: smallest,
    holds: (weight) => types.includes(typeOf(weight)),
    layer(place) {
      if (place.name === 'position_embd') return 'llama.cpp has positions as float32'
      const [, K] = matrixShape(place.shape)
      return K % smallest === 0
        ? options(typeAt(place))
        : `its ${K} columns are no whole blocks of ${smallest}`
    },
  }
}

/** The type whose blocks hold a weight; null if there is none. Scales of larger groups are repeated. */
function typeOf({ qtype, shape, block, offset, zeroPoint, nested, scaleDtype, reordered }: WeightKind) {
  if (reordered || block.kind !== 'group') return null
  const [, K] = matrixShape(shape)
  const fits = (type: GgufBlockType) => {
    const { type: codes, groupSize, zeroPoint: zero, scale, shift } = blockLayout(type)
    if (codes !== qtype || K % ggufTypes[type].values !== 0) return false
    if (scale.nested ? !nested || block.size !== groupSize : nested || block.size % groupSize !== 0)
      return false
    if (!scale.nested && (scale.dtype === 'float8_e8m0fnu') !== (scaleDtype === 'float8_e8m0fnu'))
      return false
    if (shift) return offset === 'shift'
    return zero === undefined ? offset === null : offset === 'zeroPoint' && zeroPoint === zero
  }
  return written.find(fits) ?? null
}

/** Why the scales of a weight are not those of its type's blocks; null where they are. */
async function misfit(weight: QTensor): Promise<string | null> {
  const { heldScale, heldOffset } = weight
  if ('tensor' in heldScale) {
    if (heldScale.dtype === 'float8_e8m0fnu') return null
    if (!(await fitsHalf(() => weight.scale('float32'))))
      return `its scales are ${heldScale.dtype}, and some are no numbers of float16`
  } else if (!isOfBlocks(weight, 'scale')) return 'its scales have other codes than those of GGUF'
  else if (!(await areFinite(() => weight.scale('float32')))) return 'its scales are infinite as float16'
  if (heldOffset?.kind !== 'shift') return null
  if ('tensor' in heldOffset !== 'tensor' in heldScale)
    return 'of its scales and shifts some are plain, and GGUF quantizes both once more, or none'
  if (!('tensor' in heldOffset)) {
    if (!isOfBlocks(weight, 'shift')) return 'its shifts have other codes than those of GGUF'
    return (await areFinite(() => weight.shift('float32'))) ? null : 'its shifts are infinite as float16'
  }
  return (await fitsHalf(() => weight.shift('float32')))
    ? null
    : `its shifts are ${heldOffset.dtype}, and some are no numbers of float16`
}

/** Whether float32 values are the same numbers as float16. */
async function fitsHalf(make: () => Tensor | null): Promise<boolean> {
  const values = make()
  return !values || keepsValues(values, 'float16').finally(() => values.dispose())
}

/** Whether there is no infinity among float32 values. */
async function areFinite(make: () => Tensor | null): Promise<boolean> {
  const values = make()
  return !values || (await findBeyond(values, infinity).finally(() => values.dispose())) === null
}

/** Whether the codes of scales, or shifts, are those of the blocks of a weight's type. */
function isOfBlocks({ heldScale, heldOffset, qtype }: QTensor, which: 'scale' | 'shift'): boolean {
  const held = which === 'scale' ? heldScale : heldOffset
  if (!held || !('codes' in held)) return false
  return written.some((type) => {
    const layout = blockLayout(type)
    const of = which === 'scale' ? layout.scale : layout.shift
    return (
      layout.type === qtype &&
      of?.nested?.bits === held.bits &&
      (of.nested.zero ?? 0) === held.zero &&
      of.dtype === held.codesDtype &&
      held.valuesDtype === 'float16' &&
      held.blockSize === ggufTypes[type].values / layout.groupSize
    )
  })
}

function partsOf({ weight }: LayerToWrite): PartToWrite[] {
  const type = weight && typeOf(weight)
  if (!type) return []
  const make: PartToWrite['make'] = ({ weight: frozen }) => blocksOf(frozen as QTensor, type, weight.shape)
  return [{ name: 'weight', dtype: type, shape: weight.shape, of: 'weight', make }]
}

/** The blocks of a weight, [N, bytes of a row] uint8. */
function blocksOf(weight: QTensor, type: GgufBlockType, shape: Shape): Tensor {
  const layout = blockLayout(type)
  const { values, bytes } = ggufTypes[type]
  const [N, K] = matrixShape(shape)
  const { codes, scale, offset } = weight.parts()
  // Fields name every bit.
  const blocks = Tensor.empty(weight.device, [N, (K / values) * bytes], 'uint8')
  const count = (N * K) / values
  const put = (part: Tensor, fields: readonly BlockField[]) => {
    const numbers = fieldNumbers(fields, part.byteLength / count)
    weight.device.call('packBlocks', {
      ...{ values: part, blocks, count, blockBytes: bytes, blockValues: part.byteLength / count },
      fields: Tensor.fromArray(weight.device, numbers, [numbers.length / fieldLength, fieldLength]),
      fieldCount: numbers.length / fieldLength,
    })
  }
  const putScales = (from: Scale, { dtype, fields, nested, negative }: BlockScales) => {
    if (!nested) return put(plainScales(from, dtype, (N * K) / layout.groupSize, negative), fields)
    const { codes: scaleCodes, values: halves } = from as NestedScale
    put(scaleCodes, fields)
    put(halves, [{ at: nested.at, bits: 8, span: dtypes.float16.bytes }])
  }
  put(codes, layout.codes)
  putScales(scale, layout.scale)
  if (layout.shift) putScales(offset as Scale, layout.shift)
  return blocks
}

/** A scale for each group of a block; those of larger groups several times. */
function plainScales(scale: Scale, dtype: DType, groups: number, negative = false): Tensor {
  if (isNested(scale)) throw new Error('plain scales must be given')
  const { values } = scale
  const one = values.view([values.numel, 1])
  const repeated = groups === values.numel ? one : expand(one, [values.numel, groups / values.numel])
  if (!negative) return cast(repeated, dtype as 'float16')
  return cast(neg(cast(repeated, 'float32')), dtype as 'float16')
}
