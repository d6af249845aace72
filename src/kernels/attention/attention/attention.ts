/**
 * y[b,t,h] = Σⱼ pⱼ · v[b,h',j], p = softmax over keys j of scale · q[b,t,h] · k[b,h',j], j from 0 to position
 * + t.
 *
 * Causal: token t of this call stands at position + t and sees itself and what came before. Grouped queries:
 * heads / kvHeads consecutive query heads share key head h' = ⌊h · kvHeads / heads⌋.
 *
 * Keys and values behind the last one that a token sees do not reach it, NaN and infinities included.
 * Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1; Ainslie et al., "GQA", 2023.
 * @param q [batch, tokens, heads, headSize] float32
 * @param k [batch, kvHeads, capacity, headSize] float32
 * @param v [batch, kvHeads, capacity, headSize] float32
 * @param y [batch, tokens, heads, headSize] float32
 */
export function attention(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  y: Float32Array,
  batch: number,
  tokens: number,
  heads: number,
  kvHeads: number,
  headSize: number,
  position: number,
  capacity: number,
  scale: number,
): void {
  const group = heads / kvHeads
  const factor = Math.fround(scale)
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < tokens; t++) {
      for (let h = 0; h < heads; h++) {
        const query = ((b * tokens + t) * heads + h) * headSize
        const cache = (b * kvHeads + Math.floor(h / group)) * capacity * headSize
        const weights = new Float64Array(position + t + 1)
        for (let j = 0; j < weights.length; j++) {
          let dot = 0
          for (let i = 0; i < headSize; i++) dot += q[query + i] * k[cache + j * headSize + i]
          weights[j] = factor * dot
        }
        const max = weights.reduce((largest, score) => Math.max(largest, score), -Infinity)
        for (let j = 0; j < weights.length; j++) weights[j] = Math.exp(weights[j] - max)
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        for (let i = 0; i < headSize; i++) {
          let sum = 0
          for (let j = 0; j < weights.length; j++) sum += weights[j] * v[cache + j * headSize + i]
          y[query + i] = sum / total
        }
      }
    }
  }
}
