import { e2m1, type QType, qfloat8_e4m3fn } from '../../core/qtype.ts'
import type { Shape } from '../../core/shape.ts'
import { blocksShape, matrixShape, rowBlock, showBlock } from '../../qtensor/parts.ts'
import type { Format } from './compressedTensorsSettings.ts'
import type { WeightKind } from './scheme.ts'

/** The classes of layers that the library quantizes. */
export const layerTypes: readonly string[] = ['Linear', 'Embedding']

/** How a weight stands in a file. */
export interface Layout {
  readonly format: Format
  /** Of `weight_scale`. */
  readonly scaleShape: Shape
  readonly symmetric: boolean
  /** What the settings say of it, as the library writes them. */
  readonly args: Readonly<Record<string, unknown>>
}

/**
 * How the library stores a weight; the end of a sentence where it has no way to.
 * @param rounded whether inputs are rounded, too
 */
export function layoutOf(weight: WeightKind, rounded: boolean): Layout | string {
  const { qtype, offset, reordered, scaleDtype, block, shape } = weight
  if (reordered) return 'its columns are reordered, and compressed-tensors takes them in order'
  if (qtype === e2m1 || scaleDtype?.startsWith('float8') || weight.nested?.divides) return microLayout(weight)
  const isFloat = qtype === qfloat8_e4m3fn
  if (!isFloat && qtype.values !== 'signed' && qtype.values !== 'unsigned')
    return `it is ${qtype.name}, and compressed-tensors takes integers, float8_e4m3fn and e2m1`
  if (offset !== 'zeroPoint' && (qtype.unsigned || offset !== null))
    return 'it has no integer zero points, and compressed-tensors takes unsigned codes with these'
  const sharing = sharingOf(weight)
  if (typeof sharing === 'string') return sharing
  const isBlock = sharing.args.strategy === 'block'
  if (isBlock && qtype.unsigned)
    return `it has ${showBlock(block, shape)}, and compressed-tensors packs groups of columns`
  if (scaleDtype === null) return 'its scales are quantized, and compressed-tensors takes floats'
  // The library computes in the dtype of scales, which are written in the weight's.
  if (scaleDtype !== weight.dtype && weight.dtype !== 'float32')
    return `its scales are ${scaleDtype} and its floats ${weight.dtype}, and compressed-tensors has one dtype for both`
  const symmetric = offset === null || weight.zeroPoint === middleOf(qtype)
  const packed = qtype.unsigned || (!rounded && !isBlock)
  const format = isFloat
    ? rounded
      ? 'float-quantized'
      : 'naive-quantized'
    : packed
      ? 'pack-quantized'
      : 'int-quantized'
  const args = {
    num_bits: qtype.bits,
    type: isFloat ? 'float' : 'int',
    symmetric,
    ...sharing.args,
    dynamic: false,
  }
  return { format, scaleShape: sharing.scaleShape, symmetric, args }
}

/** The code that stands for 0 where ranges are symmetric. */
function middleOf({ unsigned, bits }: QType): number {
  return unsigned ? 2 ** (bits - 1) : 0
}

/** What shares a scale, in the library's words. */
interface Sharing {
  readonly args: Readonly<Record<string, unknown>> & { readonly strategy: string }
  readonly scaleShape: Shape
}

function sharingOf({ block, shape }: WeightKind): Sharing | string {
  const [N, K] = matrixShape(shape)
  if (block.kind === 'tile') {
    const { rows, columns } = block
    if (rows >= N && columns >= K) return { args: { strategy: 'tensor', group_size: null }, scaleShape: [1] }
    if (rows > 1) {
      const args = { strategy: 'block', group_size: null, block_structure: [rows, columns] }
      return { args, scaleShape: blocksShape(block, shape) }
    }
  }
  const size = block.kind === 'tile' ? block.columns : (rowBlock(block, shape) ?? 0)
  if (size >= K) return { args: { strategy: 'channel', group_size: null }, scaleShape: [N, 1] }
  if (size === 0 || K % size !== 0)
    return `it has ${showBlock(block, shape)}, and compressed-tensors takes groups that divide the columns`
  return { args: { strategy: 'group', group_size: size }, scaleShape: [N, K / size] }
}

/** Of the microscaling formats and NVFP4. */
function microLayout(weight: WeightKind): Layout | string {
  const { qtype, block, shape, offset, nested } = weight
  const scaleDtype = nested?.divides ? nested.codes : weight.scaleDtype
  const [N, K] = matrixShape(shape)
  const size = rowBlock(block, shape)
  const exponents = scaleDtype === 'float8_e8m0fnu'
  const isMicro = exponents && size === 32 && (qtype === e2m1 || qtype === qfloat8_e4m3fn)
  const isNvfp4 = scaleDtype === 'float8_e4m3fn' && size === 16 && qtype === e2m1
  if (!(isMicro || isNvfp4) || K % (size ?? 1) !== 0 || offset !== null)
    return `it is ${qtype.name} in ${showBlock(block, shape)} with ${scaleDtype ?? 'quantized'} scales, and compressed-tensors takes floats of 4 or 8 bits in groups of 32 with powers of two, or of 4 bits in groups of 16 with float8`
  if (isNvfp4 && weight.dtype !== 'bfloat16')
    return `its values are ${weight.dtype}, and compressed-tensors multiplies these scales in bfloat16`
  const args = {
    ...{ num_bits: qtype.bits, type: 'float', symmetric: true },
    ...{ strategy: isNvfp4 ? 'tensor_group' : 'group', group_size: size, dynamic: false },
    scale_dtype: isNvfp4 ? 'torch.float8_e4m3fn' : 'torch.uint8',
  }
  const format = isNvfp4
    ? 'nvfp4-pack-quantized'
    : qtype === e2m1
      ? 'mxfp4-pack-quantized'
      : 'mxfp8-quantized'
  return { format, scaleShape: [N, K / (size ?? K)], symmetric: true, args }
}
