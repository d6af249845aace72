/**
 * y[i] = x[i]·cos[p,i] − x[i+half]·sin[p,i] and y[i+half] = x[i+half]·cos[p,i] + x[i]·sin[p,i], for i < half
 * = headSize/2.
 *
 * Rotary position embedding. Values are paired half a head apart, as Hugging Face's Llama does; token t takes
 * row p = position + t of the tables.
 * Source: Su et al., "RoFormer", 2021, equation 34; pairing: transformers, models/llama/modeling_llama.py,
 * rotate_half.
 * @param x [batch, tokens, heads, headSize] float32
 * @param cos [positions, headSize/2] float32
 * @param sin [positions, headSize/2] float32
 * @param y [batch, tokens, heads, headSize] float32, may be x
 */
export function rope(
  x: Float32Array,
  cos: Float32Array,
  sin: Float32Array,
  y: Float32Array,
  batch: number,
  tokens: number,
  heads: number,
  headSize: number,
  position: number,
): void {
  const half = headSize / 2
  for (let row = 0; row < batch * tokens * heads; row++) {
    const token = Math.floor(row / heads) % tokens
    for (let i = 0; i < half; i++) {
      const a = x[row * headSize + i]
      const b = x[row * headSize + half + i]
      const cosine = cos[(position + token) * half + i]
      const sine = sin[(position + token) * half + i]
      y[row * headSize + i] = a * cosine - b * sine
      y[row * headSize + half + i] = b * cosine + a * sine
    }
  }
}
