import { firstPosition } from '../attention/positions.ts'
import { capped, seenKeys, softmaxOf } from '../attention/scores.ts'

/**
 * `attention` with the causal mask over a cache that keeps old tokens as int8: the query at position p sees
 * the last `residual` tokens, p − residual + 1 … p, in full, and those before as code · scale.
 *
 * Which tokens these are depends on p alone, not on how a text was cut into calls. Full keys and values of
 * this call's tokens are k and v; those of the `residual` tokens before it are in a ring, token j in slot j
 * mod residual. Whoever calls has written the codes of this call's tokens (`cacheQuantize`), and writes the
 * ring afterwards.
 * @param q [batch, tokens, heads, headSize] float32, at position + t, or position + positions[b] + t
 * @param k,v [batch, tokens, kvHeads, headSize] float32
 * @param recentK,recentV [batch, kvHeads, residual, headSize] float32, or null if residual is 0
 * @param keyCodes,valueCodes [batch, kvHeads, capacity, headSize] int8; position + tokens − residual <=
 * capacity
 * @param keyScale,valueScale [batch, kvHeads, capacity, groups] float32; groups = ⌈headSize / groupSize⌉
 * @param bias,ranges,positions,sinks as in `attention`
 * @param y [batch, tokens, heads, headSize] float32
 */
export function attentionInt8(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  recentK: Float32Array | null,
  recentV: Float32Array | null,
  keyCodes: Uint8Array,
  keyScale: Float32Array,
  valueCodes: Uint8Array,
  valueScale: Float32Array,
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
  residual: number,
  groupSize: number,
  window: number,
  biasBatch: number,
  biasHead: number,
  biasToken: number,
  scale: number,
  softcap: number,
): void {
  const groups = Math.ceil(headSize / groupSize)
  const [factor, cap] = [Math.fround(scale), Math.fround(softcap)]
  for (let b = 0; b < batch; b++) {
    const start = firstPosition(position, positions, b)
    const mask = { ranges, capacity: start + tokens, causal: true, window }
    for (let h = 0; h < heads; h++) {
      const kvHead = Math.floor((h * kvHeads) / heads)
      const head = b * kvHeads + kvHead
      /** Value d of token j as the query at `at` sees it. */
      const seen = (
        [own, recent, codes, scales]: [Float32Array, Float32Array | null, Uint8Array, Float32Array],
        [at, j, d]: [number, number, number],
      ) => {
        if (j <= at - residual) {
          const code = (codes[(head * capacity + j) * headSize + d] << 24) >> 24
          return code * scales[(head * capacity + j) * groups + Math.floor(d / groupSize)]
        }
        if (j >= start) return own[((b * tokens + j - start) * kvHeads + kvHead) * headSize + d]
        return recent ? recent[(head * residual + (j % residual)) * headSize + d] : NaN
      }
      for (let t = 0; t < tokens; t++) {
        const at = start + t
        const [first, end] = seenKeys(mask, b, start < 0 ? start : at)
        const query = ((b * tokens + t) * heads + h) * headSize
        const scores = Array.from({ length: Math.max(end - first, 0) }, (_, i) => {
          let dot = 0
          for (let d = 0; d < headSize; d++)
            dot += q[query + d] * seen([k, recentK, keyCodes, keyScale], [at, first + i, d])
          const added = bias ? bias[b * biasBatch + h * biasHead + t * biasToken + first + i] : 0
          return capped(factor * dot, cap) + added
        })
        const weights = softmaxOf(scores, sinks?.[h])
        for (let d = 0; d < headSize; d++) {
          let sum = 0
          for (const [i, weight] of weights.entries())
            sum += weight * seen([v, recentV, valueCodes, valueScale], [at, first + i, d])
          y[query + d] = sum
        }
      }
    }
  }
}
