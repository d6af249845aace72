import { type DType, dtypes } from '../core/dtype.ts'
import type { QType } from '../core/qtype.ts'
import type { Shape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { expand } from '../tensor/ops/broadcast.ts'
import { cast, div } from '../tensor/ops/elementwise.ts'
import { keep, scope } from '../tensor/scope.ts'
import { checkShape, Tensor } from '../tensor/tensor.ts'
import {
  checkNestedValues,
  cloneNested,
  holdNested,
  type NestedValues,
  nestedFloats,
  nestedParts,
  nestedTensors,
} from './nestedValues.ts'
import {
  type Block,
  blocksShape,
  isNested,
  type Offset,
  type OffsetKind,
  rowsOfBlocks,
  type Scale,
} from './parts.ts'
import { packTiles, tileBytes, unpackTiles } from './tiles.ts'

/** A value for each block of a weight, as a device keeps it: in tiles where every block lies in one row. */
export interface BlockValues {
  /** Tiles [N, groups] of as many bits as the dtype has, or the values in the order of the blocks. */
  readonly tensor: Tensor
  readonly dtype: DType
}

/**
 * Scales that scaled codes are divided after: kernels read `quotient`, scale / divisor, float32 as `tensor`
 * lies.
 */
interface DividedValues extends BlockValues {
  readonly divisor: number
  readonly quotient: Tensor
}

/** Scales as a device keeps them. */
export type HeldScale = BlockValues | DividedValues | NestedValues

/** Offsets as a device keeps them; of a zero point that all blocks share, one code [1]. */
export type HeldOffset =
  | (BlockValues & { readonly kind: OffsetKind })
  | (NestedValues & { readonly kind: 'shift' })
  | { readonly kind: 'zeroPoint'; readonly value: number; readonly code: Tensor }

/** Lays values of the shape of the blocks as kernels read them; a tensor of its own. */
function holdValues(values: Tensor, block: Block, shape: Shape): BlockValues {
  const { dtype } = values
  const rows = rowsOfBlocks(block, shape)
  return { tensor: rows ? packTiles(values.view(rows)) : values.clone(), dtype }
}

/** Scales as a device keeps them; tensors of their own. */
export function holdScale(scale: Scale, block: Block, shape: Shape): HeldScale {
  if (isNested(scale)) return holdNested(scale, block, shape)
  const held = holdValues(scale.values, block, shape)
  const { divisor } = scale
  if (divisor === undefined) return held
  const quotients = div(cast(scale.values, 'float32'), divisor)
  return { ...held, divisor, quotient: holdValues(quotients, block, shape).tensor }
}

/** Offsets as a device keeps them; tensors of their own. */
export function holdOffset(
  offset: Offset,
  device: Device,
  { dtype }: QType,
  block: Block,
  shape: Shape,
): HeldOffset {
  const { kind } = offset
  if ('value' in offset) return { ...offset, code: Tensor.fromNumbers(device, [offset.value], [1], dtype) }
  if (isNested(offset)) return { kind: 'shift', ...holdNested(offset, block, shape) }
  return { kind, ...holdValues(offset.values, block, shape) }
}

/** The place of values for each block, without memory. */
export function metaValues(dtype: DType, block: Block, shape: Shape): BlockValues {
  const rows = rowsOfBlocks(block, shape)
  if (!rows) return { tensor: keep(Tensor.meta(blocksShape(block, shape), dtype)), dtype }
  return { tensor: keep(Tensor.meta([tileBytes(...rows, 8 * dtypes[dtype].bytes)], 'uint8')), dtype }
}

/** @throws ShapeError unless values in tiles are as many as the blocks of a weight */
export function checkHeld(name: string, held: HeldScale | HeldOffset, block: Block, shape: Shape): void {
  if ('value' in held) return
  if (!('tensor' in held)) {
    checkNestedValues(name, held, block, shape)
    return
  }
  const rows = rowsOfBlocks(block, shape)
  const bytes = dtypes[held.dtype].bytes
  checkShape('QTensor', name, held.tensor, rows ? [tileBytes(...rows, 8 * bytes)] : blocksShape(block, shape))
}

/** The inverse of `holdValues`, cast to `as`; a tensor of its own. */
function plainValues(held: BlockValues, block: Block, shape: Shape, as = held.dtype): Tensor {
  const { tensor, dtype } = held
  const values = () => {
    const rows = rowsOfBlocks(block, shape)
    if (!rows) return tensor.clone()
    return unpackTiles(tensor, 8 * dtypes[dtype].bytes, ...rows, dtype).view(blocksShape(block, shape))
  }
  return scope(() => (as === dtype ? values() : cast(values(), as)))
}

/**
 * The numbers of the blocks, of their shape, in `as` or as they are held; scales with a divisor are divided
 * by it. Those, and numbers quantized once more, are computed in float32. A tensor of its own.
 */
export function blockValues(held: HeldScale | HeldOffset, block: Block, shape: Shape, as?: DType): Tensor {
  if ('value' in held) return scope(() => expand(held.code, blocksShape(block, shape)).clone())
  if ('quotient' in held) return plainValues({ tensor: held.quotient, dtype: 'float32' }, block, shape, as)
  if ('tensor' in held) return plainValues(held, block, shape, as)
  return scope(() => cast(nestedFloats(nestedParts(held, block, shape)), as ?? 'float32'))
}

/** The inverse of `holdScale`. */
export function scaleParts(held: HeldScale, block: Block, shape: Shape): Scale {
  if (!('tensor' in held)) return nestedParts(held, block, shape)
  const values = plainValues(held, block, shape)
  return 'divisor' in held ? { values, divisor: held.divisor } : { values }
}

/** The inverse of `holdOffset`. */
export function offsetParts(held: HeldOffset, block: Block, shape: Shape): Offset {
  if ('value' in held) return { kind: held.kind, value: held.value }
  if ('tensor' in held) return { kind: held.kind, values: plainValues(held, block, shape) }
  return { kind: held.kind, ...nestedParts(held, block, shape) }
}

/** The tensors that hold scales or offsets. */
export function tensorsOf(held: HeldScale | HeldOffset): Tensor[] {
  if ('value' in held) return [held.code]
  if ('quotient' in held) return [held.tensor, held.quotient]
  return 'tensor' in held ? [held.tensor] : nestedTensors(held)
}

/** A copy, each of its tensors made by `copy`. */
export function cloneHeld<Held extends HeldScale | HeldOffset>(
  held: Held,
  copy: (tensor: Tensor) => Tensor,
): Held {
  if ('value' in held) return { ...held, code: copy(held.code) }
  if (!('tensor' in held)) return { ...held, ...cloneNested(held, copy) }
  const tensor = copy(held.tensor)
  return 'quotient' in held ? { ...held, tensor, quotient: copy(held.quotient) } : { ...held, tensor }
}
