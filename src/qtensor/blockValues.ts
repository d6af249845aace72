import { type DType, dtypes } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { keep, scope } from '../tensor/scope.ts'
import { checkShape, Tensor } from '../tensor/tensor.ts'
import { type Block, blocksShape, matrixShape, type NestedScale, rowBlock } from './parts.ts'
import { packTiles, tileBytes, unpackTiles } from './tiles.ts'

/** A value for each block of a weight, as a device keeps it: in tiles where every block lies in one row. */
export interface BlockValues {
  /** Tiles [N, groups] of as many bits as the dtype has, or the values in the order of the blocks. */
  readonly tensor: Tensor
  readonly dtype: DType
}

/** Scales as a device keeps them; those quantized once more stay in the order of the blocks. */
export type HeldScale = BlockValues | (NestedScale & { readonly offset: Tensor })

/** Offsets as a device keeps them. */
export interface HeldOffset extends BlockValues {
  readonly kind: 'shift' | 'zeroPoint'
}

/** Lays values of the shape of the blocks as kernels read them; a tensor of its own. */
export function holdValues(values: Tensor, block: Block, shape: Shape): BlockValues {
  const { dtype } = values
  if (rowBlock(block, shape) === null) return { tensor: values.clone(), dtype }
  return { tensor: packTiles(values.view(rowsOfBlocks(block, shape))), dtype }
}

/** The place of values for each block, without memory. */
export function metaValues(dtype: DType, block: Block, shape: Shape): BlockValues {
  if (rowBlock(block, shape) === null)
    return { tensor: keep(Tensor.meta(blocksShape(block, shape), dtype)), dtype }
  const [N, groups] = rowsOfBlocks(block, shape)
  return { tensor: keep(Tensor.meta([tileBytes(N, groups, 8 * dtypes[dtype].bytes)], 'uint8')), dtype }
}

/** @throws ShapeError unless values in tiles are as many as the blocks of a weight */
export function checkHeld(name: string, { tensor, dtype }: BlockValues, block: Block, shape: Shape): void {
  if (rowBlock(block, shape) === null) {
    checkShape('QTensor', name, tensor, blocksShape(block, shape))
    return
  }
  const [N, groups] = rowsOfBlocks(block, shape)
  checkShape('QTensor', name, tensor, [tileBytes(N, groups, 8 * dtypes[dtype].bytes)])
}

/** The inverse of `holdValues`, cast to `as`; a tensor of its own. */
export function blockValues(held: BlockValues, block: Block, shape: Shape, as = held.dtype): Tensor {
  const { tensor, dtype } = held
  const values = () => {
    if (rowBlock(block, shape) === null) return tensor.clone()
    const [N, groups] = rowsOfBlocks(block, shape)
    return unpackTiles(tensor, 8 * dtypes[dtype].bytes, N, groups, dtype).view(blocksShape(block, shape))
  }
  return scope(() => (as === dtype ? values() : cast(values(), as)))
}

/** [N, groups], for blocks that lie in rows. */
function rowsOfBlocks(block: Block, shape: Shape): [rows: number, groups: number] {
  const [N, K] = matrixShape(shape)
  return [N, Math.ceil(K / (rowBlock(block, shape) ?? K))]
}

/** scale[i] = codebook[codes[i]] · values[⌊i / blockSize⌋] + offset, float32, of the shape of the codes. */
export function nestedScales(scale: NestedScale & { readonly offset: Tensor }): Tensor {
  const { codes } = scale
  const y = Tensor.empty(codes.device, codes.shape)
  if (codes.numel > 0) codes.device.call('nestedScale', { ...scale, y, count: codes.numel })
  return y
}

/** A copy of nested scales with memory of its own. */
export function holdNested({ codes, codebook, blockSize, values, offset }: NestedScale) {
  return {
    codes: codes.clone(),
    codebook: codebook.clone(),
    blockSize,
    values: values.clone(),
    offset: offset instanceof Tensor ? offset.clone() : Tensor.full(codes.device, [], offset),
  }
}

/** The tensors that hold scales. */
export function tensorsOf(scale: HeldScale): Tensor[] {
  return 'tensor' in scale ? [scale.tensor] : [scale.codes, scale.codebook, scale.values, scale.offset]
}

/** A copy of scales with memory of its own. */
export function cloneScale(scale: HeldScale): HeldScale {
  return 'tensor' in scale ? { ...scale, tensor: scale.tensor.clone() } : holdNested(scale)
}
