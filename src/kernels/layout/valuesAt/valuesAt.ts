/**
 * y[b, i] = x[starts[b] + i]: for each sequence some values that lie behind one another. A place before the
 * first value takes the first, one behind the last the last.
 * @param x [length] int32
 * @param starts [batch] int32
 * @param y [batch, count] int32
 */
export function valuesAt(
  x: Int32Array,
  starts: Int32Array,
  y: Int32Array,
  batch: number,
  count: number,
  length: number,
): void {
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < count; i++) y[b * count + i] = x[Math.min(Math.max(starts[b] + i, 0), length - 1)]
  }
}
