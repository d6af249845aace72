/**
 * y[i] = x[i] / (1 − p) with probability 1 − p, else 0; which, is a hash of i and the seed, so that a second
 * call decides alike.
 * Source: Srivastava et al., "Dropout", 2014, section 10; hash: MurmurHash3's finalizer (Appleby, public
 * domain), twice.
 * @param x [count] float32
 * @param y [count] float32, may be x
 */
export function dropout(x: Float32Array, p: number, seed: number, y: Float32Array, count: number): void {
  const dropped = Math.fround(p) * 2 ** 32
  const scale = Math.fround(1 / (1 - Math.fround(p)))
  for (let i = 0; i < count; i++) y[i] = mix(mix(i) + seed) >= dropped ? x[i] * scale : 0
}

/** 32 bits scrambled. */
function mix(bits: number): number {
  let h = bits | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
