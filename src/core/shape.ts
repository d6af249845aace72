import { ShapeError } from './errors.ts'

/** Sizes of a tensor's dimensions, outermost first; `[]` is a scalar. */
export type Shape = readonly number[]

/** How many values a tensor of this shape holds. */
export function numel(shape: Shape): number {
  let count = 1
  for (const size of shape) count *= size
  return count
}

/** `[4,100]`, as error messages print shapes. */
export function showShape(shape: Shape): string {
  return `[${shape.join(',')}]`
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false
  for (let axis = 0; axis < a.length; axis++) if (a[axis] !== b[axis]) return false
  return true
}

/**
 * The sizes of values that had shape `from` under the shape `to`, where one may be −1: as many as the others
 * leave.
 * @throws ShapeError if the number of values differs, or a size is no whole number
 */
export function inferShape(operation: string, from: Shape, to: Shape): Shape {
  const held = numel(from)
  let rest = 1
  let open = 0
  let whole = true
  for (const size of to) {
    if (size === -1) open++
    else {
      rest *= size
      whole &&= Number.isInteger(size) && size >= 0
    }
  }
  if (!whole || open > 1)
    throw new ShapeError(
      `${operation}: sizes must be whole numbers, 0 or more, but one, which may be -1; received ${showShape(to)}`,
    )
  if (open === 0) {
    if (rest !== held)
      throw new ShapeError(
        `${operation}: ${showShape(to)} must hold ${held} values; received ${rest} for ${showShape(from)}`,
      )
    return to
  }
  // Beside a size of 0, -1 could stand for any.
  if (rest === 0 || held % rest !== 0)
    throw new ShapeError(
      `${operation}: the sizes beside -1 must divide ${held} values; received ${showShape(to)} for ${showShape(from)}`,
    )
  return to.map((size) => (size === -1 ? held / rest : size))
}
