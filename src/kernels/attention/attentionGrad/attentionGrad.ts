import { capped, seenKeys, softmaxOf } from '../attention/scores.ts'

/**
 * The gradients of y = p·v, p = softmax(cap(u) + bias), u = scale·q·kᵀ, cap and what each query sees as in
 * `attention`; query t stands at position t.
 *
 *     du = cap'(u)·p·(dy·vᵀ − Σ dy·y),  dq = scale·du·k,  dk = scale·duᵀ·q,  dv = pᵀ·dy,
 *     cap'(u) = 1 − tanh²(u / softcap), or 1 without a cap
 *
 * Head h uses key-value head ⌊h·kvHeads/heads⌋.
 * Source: Dao et al., "FlashAttention", 2022, appendix B.2.
 * @param q,y,dy,dq [batch, tokens, heads, headSize] float32
 * @param k,v,dk,dv [batch, kvHeads, capacity, headSize] float32
 * @param bias,ranges,sinks as in `attention`; the sinks get no gradient
 */
export function attentionGrad(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  y: Float32Array,
  bias: Float32Array | null,
  ranges: Int32Array | null,
  sinks: Float32Array | null,
  dy: Float32Array,
  dq: Float32Array,
  dk: Float32Array,
  dv: Float32Array,
  batch: number,
  tokens: number,
  heads: number,
  kvHeads: number,
  headSize: number,
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
  const [factor, cap] = [Math.fround(scale), Math.fround(softcap)]
  const [sumQ, sumK, sumV] = [dq, dk, dv].map(({ length }) => new Float64Array(length))
  const dot = (a: Float32Array, i: number, b: Float32Array, j: number) => {
    let sum = 0
    for (let d = 0; d < headSize; d++) sum += a[i + d] * b[j + d]
    return sum
  }
  for (let b = 0; b < batch; b++)
    for (let t = 0; t < tokens; t++) {
      const [first, end] = seenKeys(mask, b, t)
      for (let h = 0; h < heads; h++) {
        const at = ((b * tokens + t) * heads + h) * headSize
        const head = (b * kvHeads + Math.floor((h * kvHeads) / heads)) * capacity * headSize
        const keys = Array.from({ length: Math.max(end - first, 0) }, (_, i) => head + (first + i) * headSize)
        const plain = keys.map((key) => factor * dot(q, at, k, key))
        const added = b * biasBatch + h * biasHead + t * biasToken + first
        const weights = softmaxOf(
          plain.map((u, i) => capped(u, cap) + (bias ? bias[added + i] : 0)),
          sinks?.[h],
        )
        const delta = dot(dy, at, y, at)
        for (const [i, key] of keys.entries()) {
          const slope = cap === 0 ? 1 : 1 - Math.tanh(plain[i] / cap) ** 2
          const du = factor * slope * weights[i] * (dot(dy, at, v, key) - delta)
          for (let d = 0; d < headSize; d++) {
            sumQ[at + d] += du * k[key + d]
            sumK[key + d] += du * q[at + d]
            sumV[key + d] += weights[i] * dy[at + d]
          }
        }
      }
    }
  dq.set(sumQ)
  dk.set(sumK)
  dv.set(sumV)
}
