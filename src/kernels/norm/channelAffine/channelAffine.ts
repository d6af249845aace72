/**
 * y[o,c,i] = x[o,c,i]·scale[c] + shift[c].
 * @param x [outer, channels, inner] float32
 * @param scale [channels] float32
 * @param shift [channels] float32, or null for 0
 * @param y [outer, channels, inner] float32, may be x
 */
export function channelAffine(
  x: Float32Array,
  scale: Float32Array,
  shift: Float32Array | null,
  y: Float32Array,
  outer: number,
  channels: number,
  inner: number,
): void {
  for (let i = 0; i < outer * channels * inner; i++) {
    const c = Math.floor(i / inner) % channels
    y[i] = x[i] * scale[c] + (shift?.[c] ?? 0)
  }
}
