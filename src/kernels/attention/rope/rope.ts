/**
 * (y[i], y[j]) = (x[i]·cos[p,r] − x[j]·sin[p,r], x[j]·cos[p,r] + x[i]·sin[p,r]) for each pair r of the first
 * rotaryDim values of a head; the others stay as they are.
 *
 * Rotary position embedding. Pair r is (r, r + rotaryDim/2), as Hugging Face's Llama has it, or interleaved
 * (2r, 2r + 1), as in GPT-J and GGUF; token t takes row p = position + t of the tables.
 * Source: Su et al., "RoFormer", 2021, equation 34; pairs: transformers, models/llama/modeling_llama.py,
 * rotate_half, and models/gptj/modeling_gptj.py, rotate_every_two.
 * @param x [batch, tokens, heads, headSize] float32
 * @param cos [positions, rotaryDim/2] float32
 * @param sin [positions, rotaryDim/2] float32
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
  rotaryDim: number,
  interleaved: number,
  position: number,
): void {
  const half = rotaryDim / 2
  for (let row = 0; row < batch * tokens * heads; row++) {
    const token = Math.floor(row / heads) % tokens
    const head = row * headSize
    for (let r = 0; r < half; r++) {
      const [i, j] = interleaved ? [head + 2 * r, head + 2 * r + 1] : [head + r, head + half + r]
      const [a, b] = [x[i], x[j]]
      const cosine = cos[(position + token) * half + r]
      const sine = sin[(position + token) * half + r]
      y[i] = a * cosine - b * sine
      y[j] = b * cosine + a * sine
    }
    for (let i = rotaryDim; i < headSize; i++) y[head + i] = x[head + i]
  }
}
