import { firstPosition } from '../attention/positions.ts'

/**
 * (y[i], y[j]) = (x[i]·cos[p,r] − x[j]·sin[p,r], x[j]·cos[p,r] + x[i]·sin[p,r]) for each pair r of the first
 * rotaryDim values of a head; the others stay as they are.
 *
 * Rotary position embedding. Pair r is (r, r + rotaryDim/2), as Hugging Face's Llama has it, or interleaved
 * (2r, 2r + 1), as in GPT-J and GGUF; token t takes row p = position + t of the tables, that of sequence b
 * position + positions[b] + t. A token that has no row stays as it is.
 * Source: Su et al., "RoFormer", 2021, equation 34; pairs: transformers, models/llama/modeling_llama.py,
 * rotate_half, and models/gptj/modeling_gptj.py, rotate_every_two.
 * @param x [batch, tokens, heads, headSize] float32
 * @param cos,sin [rows, rotaryDim/2] float32
 * @param positions [batch] int32, or null
 * @param y [batch, tokens, heads, headSize] float32, may be x
 */
export function rope(
  x: Float32Array,
  cos: Float32Array,
  sin: Float32Array,
  positions: Int32Array | null,
  y: Float32Array,
  batch: number,
  tokens: number,
  heads: number,
  headSize: number,
  rotaryDim: number,
  interleaved: number,
  position: number,
  rows: number,
): void {
  const half = rotaryDim / 2
  for (let row = 0; row < batch * tokens * heads; row++) {
    const [b, token] = [Math.floor(row / heads / tokens), Math.floor(row / heads) % tokens]
    const head = row * headSize
    const at = firstPosition(position, positions, b) + token
    const turned = at >= 0 && at < rows
    for (let r = 0; r < half && turned; r++) {
      const [i, j] = interleaved ? [head + 2 * r, head + 2 * r + 1] : [head + r, head + half + r]
      const [a, b] = [x[i], x[j]]
      const cosine = cos[at * half + r]
      const sine = sin[at * half + r]
      y[i] = a * cosine - b * sine
      y[j] = b * cosine + a * sine
    }
    for (let i = turned ? rotaryDim : 0; i < headSize; i++) y[head + i] = x[head + i]
  }
}
