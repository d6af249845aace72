import { type DType, dtypes } from '../core/dtype.ts'
import { numel, type Shape } from '../core/shape.ts'
import { expand } from '../tensor/ops/broadcast.ts'
import { add, cast, div } from '../tensor/ops/elementwise.ts'
import { checkShape, Tensor } from '../tensor/tensor.ts'
import { type Block, blocksShape, type NestedScale, rowsOfBlocks } from './parts.ts'
import { packTiles, tileBytes, unpackTiles } from './tiles.ts'

/**
 * Scales or shifts that were quantized once more, as a device keeps them: codes and values in tiles, where
 * the kernels that multiply can read them so, else in the order of the blocks.
 */
export interface NestedValues {
  /** Tiles [N, groups] of `bits`, or codes of the shape of the blocks. */
  readonly codes: Tensor
  readonly codesDtype: DType
  readonly bits: number
  readonly zero: number
  readonly codebook: Tensor | null
  readonly blockSize: number
  /** Tiles [N, groups / blockSize], one tile where all of the weight has one value, or values in order. */
  readonly values: Tensor
  readonly valuesDtype: DType
  /** Whether the one value that all codes share divides. */
  readonly divides: boolean
  readonly offset: Tensor | null
  /**
   * How many groups of a row share a value; 0: all of the weight do, −1: they are divided by it; null:
   * nothing is in tiles.
   */
  readonly shared: number | null
}

/**
 * How many groups of a row share a value, as the kernels can read it: eight groups from a multiple of eight
 * on have the same value; 0 where all of the weight has one, −1 where that divides. Null where they cannot.
 */
function sharedGroups(nested: NestedScale, block: Block, shape: Shape): number | null {
  const rows = rowsOfBlocks(block, shape)
  if (!rows || nested.codebook || nested.offset || ![4, 6, 8].includes(nested.bits ?? 8)) return null
  const [N, groups] = rows
  const { blockSize } = nested
  if (blockSize >= N * groups) return nested.divides ? -1 : 0
  if (groups % blockSize !== 0) return null
  return blockSize % 8 === 0 || blockSize === groups ? blockSize : null
}

/** Lays nested values as kernels read them; tensors of its own. */
export function holdNested(nested: NestedScale, block: Block, shape: Shape): NestedValues {
  const {
    codes,
    codebook = null,
    bits = 8,
    zero = 0,
    blockSize,
    values,
    divides = false,
    offset = 0,
  } = nested
  const shared = sharedGroups(nested, block, shape)
  const facts = { codesDtype: codes.dtype, bits, zero, blockSize, valuesDtype: values.dtype, divides, shared }
  if (shared === null) {
    const held = { codes: codes.clone(), codebook: codebook?.clone() ?? null, values: values.clone() }
    const added = offset instanceof Tensor ? offset.clone() : Tensor.full(codes.device, [], offset)
    return { ...facts, ...held, offset: offset === 0 ? null : added }
  }
  const rows = rowsOfBlocks(block, shape) as [number, number]
  const one = values.view([values.numel, 1])
  const tiled = shared <= 0 ? expand(one, [16, 1]) : values.view([rows[0], rows[1] / shared])
  return {
    ...facts,
    codes: packTiles(codes.view(rows), bits),
    codebook,
    values: packTiles(tiled),
    offset: null,
  }
}

/** The inverse of `holdNested`; tensors of its own. */
export function nestedParts(held: NestedValues, block: Block, shape: Shape): NestedScale {
  const { codes, codesDtype, bits, zero, codebook, blockSize, values, valuesDtype, offset, shared } = held
  const facts = {
    bits,
    zero,
    blockSize,
    divides: held.divides,
    codebook: codebook?.clone() ?? null,
    offset: offset?.clone() ?? 0,
  }
  if (shared === null) return { ...facts, codes: codes.clone(), values: values.clone() }
  const [N, groups] = rowsOfBlocks(block, shape) as [number, number]
  const valueBits = 8 * dtypes[valuesDtype].bytes
  const [rows, cols] = shared <= 0 ? [1, 1] : [N, groups / shared]
  return {
    ...facts,
    codes: unpackTiles(codes, bits, N, groups, codesDtype).view(blocksShape(block, shape)),
    values: unpackTiles(values, valueBits, rows, cols, valuesDtype).view([rows * cols]),
  }
}

/** v(codes[i]) · values[⌊i / blockSize⌋] + offset, float32, of the shape of the codes. */
export function nestedFloats({
  codes,
  codebook,
  zero = 0,
  blockSize,
  values,
  divides,
  offset = 0,
}: NestedScale): Tensor {
  const { device, shape, dtype, numel: count } = codes
  if (divides) {
    const plain = { codes, codebook, zero, blockSize, values: Tensor.full(device, values.shape, 1) }
    const quotients = div(nestedFloats(plain), cast(values, 'float32'))
    return offset === 0 ? quotients : add(quotients, offset)
  }
  const y = Tensor.empty(device, shape)
  if (count === 0) return y
  device.call('unnestScale', {
    ...{ codes, dtype: dtypes[dtype].code, zero, codebook: codebook ?? null },
    ...{ values, valuesDtype: dtypes[values.dtype].code, y, count, blockSize },
    offset: offset instanceof Tensor ? offset : offset === 0 ? null : Tensor.full(device, [], offset),
  })
  return y
}

/** @throws ShapeError unless what lies in tiles fits the blocks of a weight */
export function checkNestedValues(name: string, held: NestedValues, block: Block, shape: Shape): void {
  const { codes, bits, values, valuesDtype, shared } = held
  if (shared === null) return
  const [N, groups] = rowsOfBlocks(block, shape) as [number, number]
  checkShape('QTensor', `${name}.codes`, codes, [tileBytes(N, groups, bits)])
  const [rows, cols] = shared <= 0 ? [1, 1] : [N, groups / shared]
  checkShape('QTensor', `${name}.values`, values, [tileBytes(rows, cols, 8 * dtypes[valuesDtype].bytes)])
}

/** The bytes that they take when saved: codes at their bits. */
export function nestedByteLength(held: NestedValues, block: Block, shape: Shape): number {
  const { bits, blockSize, valuesDtype, codebook, offset } = held
  const blocks = numel(blocksShape(block, shape))
  const others = (codebook?.byteLength ?? 0) + (offset?.byteLength ?? 0)
  const valueBytes = Math.ceil(blocks / blockSize) * dtypes[valuesDtype].bytes
  return Math.ceil((blocks * bits) / 8) + valueBytes + others
}

/** The tensors that hold them. */
export function nestedTensors({ codes, codebook, values, offset }: NestedValues): Tensor[] {
  return [codes, codebook, values, offset].filter((tensor) => tensor instanceof Tensor)
}

/** A copy, each of its tensors made by `copy`. */
export function cloneNested(held: NestedValues, copy: (tensor: Tensor) => Tensor): NestedValues {
  const { codes, codebook, values, offset } = held
  return {
    ...held,
    codes: copy(codes),
    codebook: codebook && copy(codebook),
    values: copy(values),
    offset: offset && copy(offset),
  }
}
