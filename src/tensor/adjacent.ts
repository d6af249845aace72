import { ShapeError } from '../core/errors.ts'
import { showShape } from '../core/shape.ts'
import { scope } from './scope.ts'
import { copyTo, Tensor } from './tensor.ts'

/*
 * Tensors that lie one behind the other in one block of memory can be taken for one, of all their rows.
 */

/** Copies of tensors of one device and dtype, one behind the other in one block of memory. */
export function placeAdjacent(tensors: readonly Tensor[]): Tensor[] {
  const [first] = tensors
  if (!first) return []
  const total = tensors.reduce((sum, { numel }) => sum + numel, 0)
  return scope(() => {
    const block = Tensor.empty(first.device, [total], first.dtype)
    let start = 0
    return tensors.map((tensor) => {
      if (tensor.dtype !== first.dtype)
        throw new ShapeError(
          `placeAdjacent: every tensor must be ${first.dtype}; received ${tensor.dtype} ${showShape(tensor.shape)}`,
        )
      start += tensor.numel
      const place = block.rows(start - tensor.numel, start).view(tensor.shape)
      copyTo(tensor, place)
      return place
    })
  })
}

/**
 * All rows of tensors [rows, ...] that lie one behind the other in memory, which it shares; null where they do
 * not.
 */
export function adjacentRows(tensors: readonly Tensor[]): Tensor | null {
  const [{ storage, byteOffset, dtype, shape }] = tensors
  let [end, rows] = [byteOffset, 0]
  for (const tensor of tensors) {
    if (tensor.storage !== storage || tensor.byteOffset !== end || tensor.dtype !== dtype) return null
    end += tensor.byteLength
    rows += tensor.shape[0]
  }
  return new Tensor(storage.retain(), shape.with(0, rows), dtype, byteOffset)
}
