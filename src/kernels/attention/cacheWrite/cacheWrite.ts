/**
 * cache[b, h, position + t, :] = x[b, t, h, :]: new keys (or values) move behind those already there, heads
 * first.
 * @param x [batch, tokens, heads, headSize] float32
 * @param cache [batch, heads, capacity, headSize] float32; position + tokens <= capacity, other rows stay
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
    for (let t = 0; t < tokens; t++) {
      for (let h = 0; h < heads; h++) {
        const from = ((b * tokens + t) * heads + h) * headSize
        const to = ((b * heads + h) * capacity + position + t) * headSize
        for (let i = 0; i < headSize; i++) cache[to + i] = x[from + i]
      }
    }
  }
}
