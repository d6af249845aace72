import { ShapeError } from '../../core/errors.ts'
import { either, instanceOf, wholeNumber } from '../../core/kinds.ts'
import { currentValue, Scalar } from '../../devices/commandList.ts'
import { checkDType, checkShape, Tensor } from '../tensor.ts'

/**
 * Where the first token of each sequence stands: one place for all of them, or [B] int32, a place for each. A
 * list that is kept reads a scalar, and the values of a tensor, anew each time it runs. A place below 0 in a
 * tensor leaves the sequence out: nothing of it is written, and its tokens see nothing.
 */
export type Position = number | Scalar | Tensor

/** A place, or places. */
export const aPosition = either(
  'be a whole number, 0 or more, a scalar, or a tensor of places',
  wholeNumber(0),
  instanceOf(Scalar, ''),
  instanceOf(Tensor, ''),
)

/** A position as kernels take it, for B sequences of T tokens that must stay below `limit`. */
export function placed(
  operation: string,
  position: Position,
  [B, T]: readonly [number, number],
  limit = Infinity,
): { position: number | Scalar; positions: Tensor | null } {
  if (position instanceof Tensor) {
    checkDType(operation, 'position', position, 'int32')
    checkShape(operation, 'position', position, [B])
    return { position: 0, positions: position }
  }
  checkPositions(operation, position, T, limit)
  return { position, positions: null }
}

/**
 * The place so many tokens behind the first.
 * @throws ShapeError unless it is a number: what a kept list reads anew has no other place behind it
 */
export function placeBehind(position: Position, tokens: number): Position {
  if (tokens === 0) return position
  if (typeof position === 'number') return position + tokens
  throw new ShapeError('position: must be a number where fewer tokens ask than are added')
}

/**
 * Positions `position` to `position + T − 1` must stay below `limit`; whoever runs a kept list keeps its
 * scalar there.
 */
function checkPositions(operation: string, position: number | Scalar, T: number, limit: number): void {
  const first = currentValue(position)
  if (first + T > limit)
    throw new ShapeError(
      `${operation}: positions must stay below ${limit}; received ${first}..${first + T - 1}`,
    )
}
