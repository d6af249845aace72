/*
 * The GPT-2 architecture written plainly, in float64 throughout: the truth against which both PyTorch's
 * float32 logits and ours are measured. It shares no kernel, module or tensor with the library.
 */

export interface PlainGpt2 {
  heads: number
  layers: number
  epsilon: number
  /** By their names in the checkpoint. */
  weights: ReadonlyMap<string, Float32Array>
  /** The head's weight, where it is not the embedding's. */
  head?: Float32Array
}

/** Logits of every position, by the whole prompt at once. */
export function forwardGpt2(
  { heads, layers, epsilon, weights, head }: PlainGpt2,
  ids: readonly number[],
): Float64Array[] {
  const weight = (name: string) => {
    const found = weights.get(`transformer.${name}`)
    if (!found) throw new Error(`the checkpoint holds no ${name}`)
    return found
  }
  const hidden = weight('ln_f.weight').length
  const [wte, wpe] = [weight('wte.weight'), weight('wpe.weight')]
  let rows = ids.map((id, t) =>
    Float64Array.from({ length: hidden }, (_, c) => wte[id * hidden + c] + wpe[t * hidden + c]),
  )
  const norm = (x: Float64Array, name: string) => {
    const mean = x.reduce((sum, v) => sum + v, 0) / x.length
    const variance = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length
    const [scale, bias] = [weight(`${name}.weight`), weight(`${name}.bias`)]
    return x.map((v, c) => ((v - mean) / Math.sqrt(variance + epsilon)) * scale[c] + bias[c])
  }
  /** x · weight + bias, weight [inputs, outputs]. */
  const conv1D = (x: Float64Array, name: string) => {
    const [matrix, bias] = [weight(`${name}.weight`), weight(`${name}.bias`)]
    return Float64Array.from(bias, (b, n) =>
      x.reduce((sum, v, k) => sum + v * matrix[k * bias.length + n], b),
    )
  }
  const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
  const plus = (a: Float64Array, b: Float64Array) => a.map((v, c) => v + b[c])
  for (let layer = 0; layer < layers; layer++) {
    const qkv = rows.map((row) => conv1D(norm(row, `h.${layer}.ln_1`), `h.${layer}.attn.c_attn`))
    const attended = qkv.map((_, t) => conv1D(attend(qkv, t, heads, hidden), `h.${layer}.attn.c_proj`))
    rows = rows.map((row, t) => plus(row, attended[t]))
    rows = rows.map((row) =>
      plus(
        row,
        conv1D(
          conv1D(norm(row, `h.${layer}.ln_2`), `h.${layer}.mlp.c_fc`).map(gelu),
          `h.${layer}.mlp.c_proj`,
        ),
      ),
    )
  }
  return rows.map((row) => {
    const last = norm(row, 'ln_f')
    return Float64Array.from({ length: wte.length / hidden }, (_, id) =>
      last.reduce((sum, v, c) => sum + v * (head ?? wte)[id * hidden + c], 0),
    )
  })
}

/** What token t takes from itself and those before it, all heads side by side. */
function attend(qkv: readonly Float64Array[], t: number, heads: number, hidden: number): Float64Array {
  const size = hidden / heads
  const y = new Float64Array(hidden)
  for (let h = 0; h < heads; h++) {
    const at = (row: Float64Array, part: number, i: number) => row[part * hidden + h * size + i]
    const scores = Array.from({ length: t + 1 }, (_, s) => {
      let dot = 0
      for (let i = 0; i < size; i++) dot += at(qkv[t], 0, i) * at(qkv[s], 1, i)
      return dot / Math.sqrt(size)
    })
    const max = Math.max(...scores)
    const powers = scores.map((score) => Math.exp(score - max))
    const total = powers.reduce((sum, power) => sum + power, 0)
    for (const [s, power] of powers.entries())
      for (let i = 0; i < size; i++) y[h * size + i] += (power / total) * at(qkv[s], 2, i)
  }
  return y
}
