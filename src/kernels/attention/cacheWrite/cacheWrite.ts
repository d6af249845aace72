import type { HostArray } from '../../../core/dtype.ts'
import { decodeFloat, dtypeOfCode, encodeFloat } from '../../../core/halves.ts'
import { firstPosition } from '../attention/positions.ts'

/**
 * cache[b, h, (position + t) mod capacity, :] = x[b, t, h, :]: new keys (or values) move behind those already
 * there, heads first. Beyond its capacity a cache is a ring: it keeps the last tokens. Sequence b stands at
 * position + positions[b]; one that stands before 0 is left out.
 * @param x [batch, tokens, heads, headSize] of the cache's dtype, or float32, which is rounded to it
 * @param cache [batch, heads, capacity, headSize] of any float dtype; other rows stay
 * @param positions [batch] int32, or null
 */
export function cacheWrite(
  x: HostArray,
  xDtype: number,
  cache: HostArray,
  dtype: number,
  positions: Int32Array | null,
  batch: number,
  tokens: number,
  heads: number,
  headSize: number,
  position: number,
  capacity: number,
): void {
  const [from, to] = [dtypeOfCode(xDtype), dtypeOfCode(dtype)]
  const kept = (raw: number) => (from === to ? raw : encodeFloat(to, decodeFloat(from, raw)))
  for (let b = 0; b < batch; b++) {
    const first = firstPosition(position, positions, b)
    if (first < 0) continue
    for (let t = Math.max(tokens - capacity, 0); t < tokens; t++) {
      for (let h = 0; h < heads; h++) {
        const source = ((b * tokens + t) * heads + h) * headSize
        const target = ((b * heads + h) * capacity + ((first + t) % capacity)) * headSize
        for (let i = 0; i < headSize; i++) cache[target + i] = kept(x[source + i] as number)
      }
    }
  }
}
