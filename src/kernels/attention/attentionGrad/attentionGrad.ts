/**
 * The gradients of causal attention y = p·v, p = softmax(scale·q·kᵀ) over the keys up to each query's own.
 *
 *     ds = p·(dy·vᵀ − Σ dy·y),  dq = scale·ds·k,  dk = scale·dsᵀ·q,  dv = pᵀ·dy
 *
 * Head h uses key-value head ⌊h·kvHeads/heads⌋.
 * Source: Dao et al., "FlashAttention", 2022, appendix B.2.
 * @param q,y,dy,dq [batch, tokens, heads, headSize] float32
 * @param k,v,dk,dv [batch, kvHeads, tokens, headSize] float32
 */
export function attentionGrad(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  y: Float32Array,
  dy: Float32Array,
  dq: Float32Array,
  dk: Float32Array,
  dv: Float32Array,
  batch: number,
  tokens: number,
  heads: number,
  kvHeads: number,
  headSize: number,
  scale: number,
): void {
  const factor = Math.fround(scale)
  const sums = {
    q: new Float64Array(dq.length),
    k: new Float64Array(dk.length),
    v: new Float64Array(dv.length),
  }
  const dot = (a: Float32Array, i: number, b: Float32Array, j: number) => {
    let sum = 0
    for (let d = 0; d < headSize; d++) sum += a[i + d] * b[j + d]
    return sum
  }
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < tokens; t++) {
        const at = ((b * tokens + t) * heads + h) * headSize
        const head = (b * kvHeads + Math.floor((h * kvHeads) / heads)) * tokens * headSize
        const keys = Array.from({ length: t + 1 }, (_, s) => head + s * headSize)
        const scores = keys.map((key) => factor * dot(q, at, k, key))
        const max = scores.reduce((largest, score) => Math.max(largest, score), -Infinity)
        const total = scores.reduce((sum, score) => sum + Math.exp(score - max), 0)
        const delta = dot(dy, at, y, at)
        for (const [s, key] of keys.entries()) {
          const p = Math.exp(scores[s] - max) / total
          const ds = factor * p * (dot(dy, at, v, key) - delta)
          for (let d = 0; d < headSize; d++) {
            sums.q[at + d] += ds * k[key + d]
            sums.k[key + d] += ds * q[at + d]
            sums.v[key + d] += p * dy[at + d]
          }
        }
      }
  dq.set(sums.q)
  dk.set(sums.k)
  dv.set(sums.v)
}
