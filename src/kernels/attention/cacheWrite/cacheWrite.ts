/**
 * cache[b, h, (position + t) mod capacity, :] = x[b, t, h, :]: new keys (or values) move behind those already
 * there, heads first. Beyond its capacity a cache is a ring: it keeps the last tokens.
 * @param x [batch, tokens, heads, headSize] float32
 * @param cache [batch, heads, capacity, headSize] float32; other rows stay
 */
export function cacheWrite(
  x: Float32Array,
  cache: Float32Array,
  batch: number,
  tokens: number,
  heads: number,
  headSize: number,
  position: number,
  capacity: number,
): void {
  for (let b = 0; b < batch; b++) {
    for (let t = Math.max(tokens - capacity, 0); t < tokens; t++) {
      for (let h = 0; h < heads; h++) {
        const from = ((b * tokens + t) * heads + h) * headSize
        const to = ((b * heads + h) * capacity + ((position + t) % capacity)) * headSize
        for (let i = 0; i < headSize; i++) cache[to + i] = x[from + i]
      }
    }
  }
}
