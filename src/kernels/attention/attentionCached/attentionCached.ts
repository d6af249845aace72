import type { HostArray } from '../../../core/dtype.ts'
import { decodeFloat, dtypeOfCode } from '../../../core/halves.ts'
import { firstPosition } from '../attention/positions.ts'
import { capped, seenKeys, softmaxOf } from '../attention/scores.ts'
import { codeAt, scaleIndex } from '../cacheQuantize/codes.ts'

/**
 * `attention` with the causal mask over a cache that keeps old tokens as codes, or not at all: the query at
 * position p sees the last `residual` tokens, p − residual + 1 … p, in full, and those before as shift + scale
 * · code, as `cacheQuantize` writes them.
 *
 * Which tokens these are depends on p alone, not on how a text was cut into calls. Full keys and values of
 * this call's tokens are k and v; those of the `residual` tokens before it are in a ring, token j in slot j
 * mod residual. Whoever calls has written the codes of this call's tokens, and writes the ring afterwards.
 * Codes of token j are in row j mod capacity, and no later one has taken the place of one that a query sees.
 * Where there are no codes, the window is at most `residual`: of what it sees every query sees all in full.
 * @param q [batch, tokens, heads, headSize] float32, at position + t, or position + positions[b] + t
 * @param k,v [batch, tokens, kvHeads, headSize] of dtype
 * @param recentK,recentV [batch, kvHeads, residual, headSize] of dtype, or null if residual is 0
 * @param keyCodes,valueCodes [batch, kvHeads, capacity, codeBytes]
 * @param keyScale,keyShift,valueScale,valueShift of scaleDtype, as in `cacheQuantize`; shifts or null
 * @param bias,ranges,positions,sinks as in `attention`
 * @param y [batch, tokens, heads, headSize] float32
 * @param bits of a code: 8 or 4
 * @param groupTokens of the keys' scales; a token of the values has its own
 */
export function attentionCached(
  q: Float32Array,
  k: HostArray,
  v: HostArray,
  recentK: HostArray | null,
  recentV: HostArray | null,
  dtype: number,
  keyCodes: Uint8Array,
  keyScale: HostArray,
  keyShift: HostArray | null,
  valueCodes: Uint8Array,
  valueScale: HostArray,
  valueShift: HostArray | null,
  scaleDtype: number,
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
  bits: number,
  groupTokens: number,
  window: number,
  biasBatch: number,
  biasHead: number,
  biasToken: number,
  scale: number,
  softcap: number,
): void {
  const [type, scaleType] = [dtypeOfCode(dtype), dtypeOfCode(scaleDtype)]
  const [factor, cap] = [Math.fround(scale), Math.fround(softcap)]
  const keys = { own: k, recent: recentK, codes: keyCodes, scale: keyScale, shift: keyShift, groupTokens }
  const values = {
    ...{ own: v, recent: recentV, codes: valueCodes, scale: valueScale, shift: valueShift },
    groupTokens: 0,
  }
  for (let b = 0; b < batch; b++) {
    const start = firstPosition(position, positions, b)
    const mask = { ranges, capacity: start + tokens, causal: true, window }
    for (let h = 0; h < heads; h++) {
      const kvHead = Math.floor((h * kvHeads) / heads)
      const head = b * kvHeads + kvHead
      /** Value d of token j as the query at `at` sees it. */
      const seen = (kept: typeof keys, at: number, j: number, d: number) => {
        if (j <= at - residual) {
          const row = j % capacity
          const group = scaleIndex(head, row, d, { headSize, capacity, groupTokens: kept.groupTokens })
          const shift = kept.shift ? decodeFloat(scaleType, kept.shift[group] as number) : 0
          const code = codeAt(kept.codes, head * capacity + row, headSize, bits, d)
          return shift + decodeFloat(scaleType, kept.scale[group] as number) * code
        }
        const held =
          j >= start
            ? kept.own[((b * tokens + j - start) * kvHeads + kvHead) * headSize + d]
            : kept.recent?.[(head * residual + (j % residual)) * headSize + d]
        return decodeFloat(type, held as number)
      }
      for (let t = 0; t < tokens; t++) {
        const at = start + t
        const [first, end] = seenKeys(mask, b, start < 0 ? start : at)
        const query = ((b * tokens + t) * heads + h) * headSize
        const scores = Array.from({ length: Math.max(end - first, 0) }, (_, i) => {
          let dot = 0
          for (let d = 0; d < headSize; d++) dot += q[query + d] * seen(keys, at, first + i, d)
          const added = bias ? bias[b * biasBatch + h * biasHead + t * biasToken + first + i] : 0
          return capped(factor * dot, cap) + added
        })
        const weights = softmaxOf(scores, sinks?.[h])
        for (let d = 0; d < headSize; d++) {
          let sum = 0
          for (const [i, weight] of weights.entries()) sum += weight * seen(values, at, first + i, d)
          y[query + d] = sum
        }
      }
    }
  }
}
