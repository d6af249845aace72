/**
 * y = x, byte by byte.
 * @param x [bytes] uint8
 * @param y [bytes] uint8, not overlapping x
 */
export function copy(x: Uint8Array, y: Uint8Array, bytes: number): void {
  for (let i = 0; i < bytes; i++) y[i] = x[i]
}
