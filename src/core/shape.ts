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
