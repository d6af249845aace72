import { type DType, dtypes } from '../core/dtype.ts'
import { type QType, qint8 } from '../core/qtype.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { blockValues, type HeldOffset } from './blockValues.ts'
import type { ComputeDType } from './computeDtype.ts'
import type { NestedValues } from './nestedValues.ts'
import { groupSizeOf, matrixShape, rowBlock, type WeightFacts } from './parts.ts'
import type { QTensor } from './qtensor.ts'
import { packTiles } from './tiles.ts'
import { repeatRows, withoutGradient } from './weightBlocks.ts'

/** A way to compute y = x · wᵀ. */
export interface Product {
  /** The kernels that run. */
  readonly kernel: 'qmatmul' | 'qmatmulInt8' | 'dequantize → matmul'
  /**
   * What x is for them: `floats` as they are; `groups` and `rows`, rounded to int8 with a scale a group of
   * columns or a row (torchao's range, or ±127 of `absmaxRows`), floats that such codes stand for where the
   * kernel takes floats; `outliers`, to a row's but for columns of large values; `codes`, an activation's
   * own; `asymmetric` and `float8`, floats rounded to a row's int8 or float8 codes; `bfloat16`, rounded to
   * it, as are values of the weight.
   */
  readonly x:
    | 'floats'
    | 'bfloat16'
    | 'groups'
    | 'rows'
    | 'absmaxRows'
    | 'outliers'
    | 'codes'
    | 'asymmetric'
    | 'float8'
  /** Why none of the fast kernels multiplies this weight. */
  readonly why?: string
}

/** Columns that the kernels take at a time: every group is whole runs of them, or as wide as the row. */
const runColumns = 16

/** What is multiplied as floats that were rounded, whatever the weight is. */
const roundedFloats: { readonly [dtype in ComputeDType]?: Product['x'] } = {
  bfloat16: 'bfloat16',
  float8PerToken: 'float8',
  int8AsymmetricPerToken: 'asymmetric',
}

/**
 * Decides how x · wᵀ is computed: the only place that does.
 * @param x the type of the factor's codes, where it is a quantized activation
 */
export function chooseProduct(weight: WeightFacts, x: QType | null, computeDtype: ComputeDType): Product {
  const { qtype } = weight
  const rounded = roundedFloats[computeDtype]
  if (rounded) return floatProduct(weight, rounded)
  const fast = floatProduct(weight, 'floats')
  const hasKernel = fast.kernel === 'qmatmul'
  if (x === qint8 && hasKernel && isStatic(weight)) return { kernel: 'qmatmulInt8', x: 'codes' }
  if (computeDtype === 'int8Outliers')
    return hasKernel && isStatic(weight) ? { kernel: 'qmatmulInt8', x: 'outliers' } : fast
  if (computeDtype === 'float32') return fast
  const integers = hasKernel && hasIntegerCodes(qtype)
  if (computeDtype === 'int8') return integers ? { kernel: 'qmatmulInt8', x: 'groups' } : fast
  const rows = computeDtype === 'int8PerToken' ? 'rows' : 'absmaxRows'
  // The kernel takes scales of x by the groups of the weight: one for a row only where that is one group.
  // Rows are rounded so whatever multiplies them.
  return integers && isOneGroup(weight) ? { kernel: 'qmatmulInt8', x: rows } : { ...fast, x: rows }
}

function floatProduct(weight: WeightFacts, x: Product['x']): Product {
  const why = withoutKernel(weight)
  return why === null ? { kernel: 'qmatmul', x } : { kernel: 'dequantize → matmul', x, why }
}

/** Why the kernels that read tiles (`qmatmul`, `qembedding`) cannot read a weight; null where they can. */
function withoutKernel({ qtype, shape, block, offset }: WeightFacts): string | null {
  const [, K] = matrixShape(shape)
  if (block.kind === 'comb') return `its scales serve ${block.teeth} values that lie apart`
  const columns = block.kind === 'tile' ? block.columns : rowBlock(block, shape)
  if (columns === null)
    return `its runs of ${block.kind === 'run' ? block.size : 0} values cross rows of ${K}`
  if (columns < K && columns % runColumns !== 0)
    return `its groups of ${columns} columns are no multiples of ${runColumns}`
  if (offset && !qtype.unsigned) return `${qtype.name} has an offset`
  return null
}

/** Whether `qmatmulInt8` multiplies codes of this type. */
function hasIntegerCodes({ values }: QType): boolean {
  return values === 'signed' || values === 'unsigned'
}

/** Whether int8 codes multiply a weight as they are: int8 on both sides, a scale a row. */
export function isStatic(weight: WeightFacts): boolean {
  return weight.qtype === qint8 && isOneGroup(weight)
}

/** Whether a row of a weight is one group, whose sums of integers fit 32 bits. */
function isOneGroup({ shape, block }: WeightFacts): boolean {
  const [, K] = matrixShape(shape)
  const columns = block.kind === 'tile' ? block.columns : rowBlock(block, shape)
  return columns !== null && columns >= K && K <= 65536
}

/** How rows of a quantized table are looked up. */
export function chooseLookup(table: WeightFacts): {
  kernel: 'qembedding' | 'dequantize → embedding'
  why?: string
} {
  const why = withoutKernel(table)
  return why === null ? { kernel: 'qembedding' } : { kernel: 'dequantize → embedding', why }
}

/**
 * What products with weights of this type are computed in when they are to be in `computeDtype`: float32
 * where no kernel multiplies integers.
 */
export function computedDtype(qtype: QType, computeDtype: ComputeDType): ComputeDType {
  if (computeDtype === 'int8Outliers') return qtype === qint8 ? computeDtype : 'float32'
  return computeDtype === 'int8' && !hasIntegerCodes(qtype) ? 'float32' : computeDtype
}

/** A scale or an offset of groups as kernels read it: kernels/matmul/qmatmul/groupValues.ts. */
interface GroupTiles {
  readonly tensor: Tensor
  readonly dtype: DType
  /** Of codes; 0: there are none. */
  readonly bits: number
  readonly zero: number
  /** What codes are multiplied by. */
  readonly values: Pick<NestedValues, 'values' | 'valuesDtype'> | null
  /** How many groups of a row share a value. */
  readonly shared: number
}

/**
 * What kernels take of a weight, by their names. Scales and shifts that no kernel reads (those of tiles, and
 * those that codebooks or runs across rows quantize once more) are made float32 for the call: run it in a
 * scope.
 */
export function weightArguments(weight: QTensor) {
  const { codeTiles, qtype, groupSize, heldOffset } = weight
  const scale = readScale(weight)
  const offset = heldOffset && readOffset(weight, heldOffset, scale)
  const values = scale.values ?? offset?.values
  return {
    ...{ w: codeTiles, qtype: qtype.code, groupSize },
    ...{ scale: scale.tensor, scaleDtype: dtypes[scale.dtype].code },
    ...{ offset: offset?.tensor ?? null, offsetDtype: dtypes[offset?.dtype ?? scale.dtype].code },
    ...{ scaleBits: scale.bits, scaleZero: scale.zero, offsetBits: offset?.bits ?? 0 },
    scaleValues: scale.values?.values ?? null,
    offsetValues: offset?.values?.values ?? null,
    valueDtype: dtypes[values?.valuesDtype ?? 'float32'].code,
    shared: scale.values ? scale.shared : (offset?.shared ?? 0),
    zeroPoint: heldOffset && 'value' in heldOffset ? heldOffset.value : 0,
  }
}

/** The dtypes that kernels read scales in; of one byte, as codes. */
const readDtypes: readonly DType[] = ['float32', 'float16', 'bfloat16', 'float8_e4m3fn', 'float8_e8m0fnu']

function plain(tensor: Tensor, dtype: DType, bits = 0): GroupTiles {
  return { tensor, dtype, bits, zero: 0, values: null, shared: 0 }
}

function nested(held: NestedValues, shared: number): GroupTiles {
  const { codes, codesDtype, bits, zero } = held
  return { tensor: codes, dtype: codesDtype, bits, zero, values: held, shared }
}

/** The scales as float32 tiles; run it in a scope. */
export function float32Scale(weight: QTensor): Tensor {
  const { tensor, dtype } = readScale(weight)
  return dtype === 'float32' ? tensor : float32Tiles(weight)
}

function float32Tiles(weight: QTensor): Tensor {
  return withoutGradient(() => rowTiles(weight, weight.scale('float32')))
}

function readScale(weight: QTensor): GroupTiles {
  const { heldScale: scale, block } = weight
  if ('quotient' in scale) return plain(scale.quotient, 'float32')
  if ('tensor' in scale && block.kind !== 'tile' && readDtypes.includes(scale.dtype))
    return plain(scale.tensor, scale.dtype, dtypes[scale.dtype].bytes === 1 ? 8 : 0)
  if ('shared' in scale && scale.shared !== null) return nested(scale, scale.shared)
  return plain(float32Tiles(weight), 'float32')
}

function readOffset(weight: QTensor, offset: HeldOffset, scale: GroupTiles): GroupTiles | null {
  const { block, shape } = weight
  if ('value' in offset) return null
  if (offset.kind === 'zero') return readZero(weight, offset.tensor)
  if ('tensor' in offset && block.kind !== 'tile') return plain(offset.tensor, offset.dtype)
  if ('shared' in offset && offset.shared !== null) {
    const { values, shared } = scale
    const alike = shared === offset.shared && values?.valuesDtype === offset.valuesDtype
    if (values === null || alike) return nested(offset, offset.shared)
  }
  const dtype = offset.kind === 'zeroPoint' ? 'uint8' : 'float32'
  const values = () => blockValues(offset, block, shape, offset.kind === 'shift' ? dtype : undefined)
  return plain(
    withoutGradient(() => rowTiles(weight, values())),
    dtype,
  )
}

/**
 * Float zero points as shifts scale · z, which kernels read; made once, and given back with the zero points.
 * They are there before a product is: one may be recorded long before it runs.
 */
function readZero(weight: QTensor, held: Tensor): GroupTiles {
  const [tensor] = held.derive('shifts', () => [
    withoutGradient(() => rowTiles(weight, weight.shift('float32') as Tensor)),
  ])
  return plain(tensor, 'float32')
}

/** A weight's float zero points, and the shifts that products read for them; null where it has none such. */
export function zeroShifts(weight: QTensor): { zeros: Tensor; shifts: Tensor } | null {
  const { heldOffset } = weight
  if (heldOffset?.kind !== 'zero') return null
  return { zeros: heldOffset.tensor, shifts: readZero(weight, heldOffset.tensor).tensor }
}

/** Gives zero points the shifts that `zeroShifts` finds; they are its own from now on. */
export function giveShifts(zeros: Tensor, shifts: Tensor): void {
  zeros.derive('shifts', () => [shifts])
}

/** Makes what products read of a weight beside its tiles. */
export function prepareProduct(weight: QTensor): void {
  const { heldOffset, block, shape } = weight
  const isTiled = block.kind === 'tile' || rowBlock(block, shape) !== null
  if (heldOffset?.kind === 'zero' && isTiled && !heldOffset.tensor.isMeta) readZero(weight, heldOffset.tensor)
}

/** Values of the shape of the blocks as tiles [N, groups]. */
function rowTiles({ block, shape }: QTensor, values: Tensor): Tensor {
  const [N, K] = matrixShape(shape)
  if (block.kind === 'tile') return packTiles(repeatRows(values, block.rows, N))
  return packTiles(values.view([N, Math.ceil(K / groupSizeOf(block))]))
}
