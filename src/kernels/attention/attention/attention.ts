import type { HostArray } from '../../../core/dtype.ts'
import { decodeFloat, dtypeOfCode } from '../../../core/halves.ts'
import { firstPosition } from './positions.ts'
import { capped, seenKeys, softmaxOf } from './scores.ts'

/**
 * y[b,t,h] = Σⱼ pⱼ · v[b,h',j], p = softmax over the keys j that the query sees of cap(scale · q[b,t,h] ·
 * k[b,h',j]) + bias[b,h,t,j], cap(s) = softcap · tanh(s / softcap), or s if softcap is 0.
 *
 * The query stands at position + t, of sequence b at position + positions[b] + t. Causal, it sees the keys up
 * to its own, with a window the last `window` of them; else all of capacity. Of these it sees only those
 * within its sequence's range: sequences that are padded on either side. A query that sees no key, or none
 * with a score above −∞, gives 0; so do those of a causal sequence that is left out. With a sink a head's
 * softmax has one more score, sinks[h], whose weight gives nothing.
 *
 * Grouped queries: heads / kvHeads consecutive query heads share key head h' = ⌊h · kvHeads / heads⌋. Keys
 * and values that a query does not see do not reach it, NaN and infinities included.
 * Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1; Ainslie et al., "GQA", 2023;
 * windows: Beltagy et al., "Longformer", 2020; cap: Gemma Team, "Gemma 2", 2024, section 2; sinks: OpenAI,
 * "gpt-oss-120b & gpt-oss-20b Model Card", 2025, section 2.2.
 * @param q [batch, tokens, heads, headSize] float32
 * @param k,v [batch, kvHeads, capacity, headSize] of dtype: float32, float16 or e4m3fn
 * @param bias float32 at b · biasBatch + h · biasHead + t · biasToken + j, or null; strides of 0 repeat it
 * @param ranges [batch, 2] int32, first key of the sequence and end, or null
 * @param positions [batch] int32, or null; negative with `position` where a sequence is left out
 * @param sinks [heads] float32, or null
 * @param y [batch, tokens, heads, headSize] float32
 */
export function attention(
  q: Float32Array,
  k: HostArray,
  v: HostArray,
  dtype: number,
  bias: Float32Array | null,
  ranges: Int32Array | null,
  positions: Int32Array | null,
  sinks: Float32Array | null,
  y: Float32Array,
  batch: number,
  tokens: number,
  heads: number,
  kvHeads: number,
  headSize: number,
  position: number,
  capacity: number,
  causal: number,
  window: number,
  biasBatch: number,
  biasHead: number,
  biasToken: number,
  scale: number,
  softcap: number,
): void {
  const mask = { ranges, capacity, causal: causal !== 0, window }
  const [keys, values] = [k, v].map((raw) => floatsOf(raw, dtype))
  const [factor, cap] = [Math.fround(scale), Math.fround(softcap)]
  for (let b = 0; b < batch; b++) {
    const start = firstPosition(position, positions, b)
    for (let t = 0; t < tokens; t++) {
      const [first, end] = seenKeys(mask, b, start < 0 ? start : start + t)
      for (let h = 0; h < heads; h++) {
        const query = ((b * tokens + t) * heads + h) * headSize
        const cache = (b * kvHeads + Math.floor((h * kvHeads) / heads)) * capacity * headSize
        const scores = Array.from({ length: Math.max(end - first, 0) }, (_, i) => {
          let dot = 0
          for (let d = 0; d < headSize; d++) dot += q[query + d] * keys[cache + (first + i) * headSize + d]
          const added = bias ? bias[b * biasBatch + h * biasHead + t * biasToken + first + i] : 0
          return capped(factor * dot, cap) + added
        })
        const weights = softmaxOf(scores, sinks?.[h])
        for (let d = 0; d < headSize; d++) {
          let sum = 0
          for (const [i, weight] of weights.entries())
            sum += weight * values[cache + (first + i) * headSize + d]
          y[query + d] = sum
        }
      }
    }
  }
}

/** The values of raw bits. */
function floatsOf(raw: HostArray, dtype: number): ArrayLike<number> {
  const type = dtypeOfCode(dtype)
  return type === 'float32'
    ? (raw as Float32Array)
    : Float32Array.from(raw as Uint16Array, (bits) => decodeFloat(type, bits))
}
