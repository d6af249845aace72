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
  return a.length === b.length && a.every((size, axis) => size === b[axis])
}

/**
 * The sizes of values that had shape `from` under the shape `to`, where one may be −1: as many as the others
 * leave.
 * @throws ShapeError if the number of values differs, or a size is no whole number
 */
export function inferShape(operation: string, from: Shape, to: Shape): Shape {
  const known = to.filter((size) => size !== -1)
  if (!known.every((size) => Number.isInteger(size) && size >= 0) || known.length < to.length - 1)
    throw new ShapeError(
      `${operation}: sizes must be whole numbers, 0 or more, but one, which may be -1; received ${showShape(to)}`,
    )
  const [held, rest] = [numel(from), numel(known)]
  if (known.length === to.length) {
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
