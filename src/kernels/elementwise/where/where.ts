/**
 * y = a where mask is not 0, b where it is; a and b may each be one value.
 * @param mask [count] bytes
 * @param a [count] float32, or null for aValue everywhere
 * @param b [count] float32, or null for bValue everywhere
 * @param y [count] float32
 */
export function where(
  mask: Uint8Array,
  a: Float32Array | null,
  aValue: number,
  b: Float32Array | null,
  bValue: number,
  y: Float32Array,
  count: number,
): void {
  for (let i = 0; i < count; i++) y[i] = mask[i] ? (a ? a[i] : aValue) : b ? b[i] : bValue
}
