import { asDType, viewAs } from '../../src/core/dtype.ts'
import { toNumbers } from '../../src/core/halves.ts'
import { openCheckpoint } from '../../src/formats/checkpoint.ts'
import { type JsonObject, readJson } from '../../src/formats/json.ts'
import type { Folder } from '../../src/formats/source.ts'
import { type TensorFile, tensorInfo } from '../../src/formats/tensorFile.ts'

/*
 * The Llama architecture written plainly, in float64 throughout: the truth against which both PyTorch's
 * float32 logits and ours are measured. It takes the weights from the checkpoint's bytes itself, and shares
 * no kernel, module or tensor with the library.
 */

/** The codes, scales and shifts of one quantized weight, as they lie in quanto's file. */
export interface QuantoParts {
  /** One byte a code, row-major in the weight's shape. */
  codes: Uint8Array
  /** How many consecutive codes share a scale. */
  groupSize: number
  scale: Uint8Array
  shift: Uint8Array | null
  /** The weight that they stand for, every operation rounded to float32. */
  dequantized: Float32Array
}

/** The weights of a float32 model by parameter path, and the parts of those that are quantized. */
export interface PlainCheckpoint {
  config: JsonObject
  weights: Map<string, Float32Array | Float64Array>
  quantized: Map<string, QuantoParts>
}

/** Reads a folder in Hugging Face layout, float or quanto's. */
export async function readPlain(folder: Folder): Promise<PlainCheckpoint> {
  const file = await openCheckpoint(folder)
  const weights: PlainCheckpoint['weights'] = new Map()
  const quantized: PlainCheckpoint['quantized'] = new Map()
  for (const name of file.tensors.keys()) {
    const [, path] = /^(.*\.weight)\._scale$/.exec(name) ?? []
    if (path) {
      const parts = await readParts(file, path)
      quantized.set(path, parts)
      weights.set(path, parts.dequantized)
    } else if (name.endsWith('.weight')) weights.set(name, await readNumbers(file, name))
  }
  await file.close()
  // A tied head is stored once, as the embedding.
  if (!weights.has('lm_head.weight'))
    weights.set('lm_head.weight', weightOf(weights, 'model.embed_tokens.weight'))
  return { config: await readJson(folder, 'config.json'), weights, quantized }
}

function weightOf(weights: PlainCheckpoint['weights'], path: string): Float32Array | Float64Array {
  const weight = weights.get(path)
  if (!weight) throw new Error(`the checkpoint holds no ${path}`)
  return weight
}

async function readNumbers(file: TensorFile, name: string): Promise<Float32Array | Float64Array> {
  const dtype = asDType(tensorInfo(file, name).dtype)
  return toNumbers(dtype, viewAs(dtype, await file.read(name)))
}

/**
 * 8 bits: w = scale · q. Fewer: w = scale · q − shift, a byte holding the codes of rows R apart, the first in
 * the lowest bits.
 */
async function readParts(file: TensorFile, path: string): Promise<QuantoParts> {
  const scales = await readNumbers(file, `${path}._scale`)
  const parts = { scale: await file.read(`${path}._scale`), shift: null }
  if (file.tensors.has(`${path}._data`)) {
    const values = await readNumbers(file, `${path}._data`)
    const groupSize = values.length / scales.length
    const dequantized = Float32Array.from(values, (q, i) => q * scales[Math.floor(i / groupSize)])
    return { ...parts, codes: await file.read(`${path}._data`), groupSize, dequantized }
  }
  const packed = await file.read(`${path}._data._data`)
  const [packedRows, groupSize] = tensorInfo(file, `${path}._data._data`).shape
  const bits = (8 * packedRows) / scales.length
  const shifts = await readNumbers(file, `${path}._shift`)
  const codes = new Uint8Array(scales.length * groupSize)
  for (let i = 0; i < codes.length; i++)
    codes[i] = (packed[i % packed.length] >> (bits * Math.floor(i / packed.length))) & (2 ** bits - 1)
  const dequantized = Float32Array.from(codes, (q, i) => {
    const group = Math.floor(i / groupSize)
    return Math.fround(q * scales[group]) - shifts[group]
  })
  return { ...parts, shift: await file.read(`${path}._shift`), codes, groupSize, dequantized }
}

/** Logits of every position of `ids`. */
export function forward64({ config, weights }: PlainCheckpoint, ids: readonly number[]): Float64Array[] {
  const size = (key: string) => config.positiveInteger(key)
  const [hidden, heads, kvHeads, headSize] = [
    size('hidden_size'),
    size('num_attention_heads'),
    size('num_key_value_heads'),
    size('head_dim'),
  ]
  const epsilon = config.number('rms_norm_eps')
  const theta = (config.has('rope_parameters') ? config.object('rope_parameters') : config).number(
    'rope_theta',
  )
  const weight = (name: string) => weightOf(weights, `${name}.weight`)
  const linear = (name: string) => (x: Float64Array) => product(weight(name), x)
  const norm = (name: string) => (x: Float64Array) => rmsNorm(x, weight(name), epsilon)
  const rotated = (x: Float64Array, position: number) => rotate(x, position, headSize, theta)

  let xs = ids.map((id) =>
    Float64Array.from(weight('model.embed_tokens').subarray(id * hidden, (id + 1) * hidden)),
  )
  for (let layer = 0; layer < size('num_hidden_layers'); layer++) {
    const [attention, mlp] = [`model.layers.${layer}.self_attn`, `model.layers.${layer}.mlp`]
    const normed = xs.map(norm(`model.layers.${layer}.input_layernorm`))
    const q = normed.map(linear(`${attention}.q_proj`)).map(rotated)
    const k = normed.map(linear(`${attention}.k_proj`)).map(rotated)
    const v = normed.map(linear(`${attention}.v_proj`))
    const mixed = q.map((query, t) => attend(query, k.slice(0, t + 1), v, { heads, kvHeads, headSize }))
    xs = mixed.map(linear(`${attention}.o_proj`)).map((y, t) => y.map((value, i) => value + xs[t][i]))
    const inner = xs.map(norm(`model.layers.${layer}.post_attention_layernorm`))
    const gated = inner.map((x) => {
      const up = product(weight(`${mlp}.up_proj`), x)
      return product(weight(`${mlp}.gate_proj`), x).map((g, i) => (g / (1 + Math.exp(-g))) * up[i])
    })
    xs = gated.map(linear(`${mlp}.down_proj`)).map((y, t) => y.map((value, i) => value + xs[t][i]))
  }
  return xs.map(norm('model.norm')).map(linear('lm_head'))
}

/** w [rows, x.length] · x */
function product(w: Float32Array | Float64Array, x: Float64Array): Float64Array {
  const y = new Float64Array(w.length / x.length)
  for (let i = 0; i < w.length; i++) y[Math.floor(i / x.length)] += w[i] * x[i % x.length]
  return y
}

function rmsNorm(x: Float64Array, w: Float32Array | Float64Array, epsilon: number): Float64Array {
  const meanSquare = x.reduce((sum, value) => sum + value * value, 0) / x.length
  return x.map((value, i) => (value / Math.sqrt(meanSquare + epsilon)) * w[i])
}

/**
 * The pairs (i, i + D/2) of each head turn by position · θ^(−2i/D); these angles are float32 in the
 * architecture itself.
 */
function rotate(x: Float64Array, position: number, headSize: number, theta: number): Float64Array {
  const half = headSize / 2
  return x.map((value, i) => {
    const pair = i % half
    const angle = Math.fround(position * Math.fround(1 / Math.fround(theta ** ((2 * pair) / headSize))))
    const partner = i % headSize < half ? -x[i + half] : x[i - half]
    return value * Math.cos(angle) + partner * Math.sin(angle)
  })
}

/** Softmax attention of one query over the keys up to its own. */
function attend(
  q: Float64Array,
  keys: Float64Array[],
  values: Float64Array[],
  { heads, kvHeads, headSize }: Record<string, number>,
): Float64Array {
  const y = new Float64Array(heads * headSize)
  for (let head = 0; head < heads; head++) {
    const at = Math.floor((head * kvHeads) / heads) * headSize
    const scores = keys.map((key) => {
      let dot = 0
      for (let i = 0; i < headSize; i++) dot += q[head * headSize + i] * key[at + i]
      return Math.exp(dot / Math.sqrt(headSize))
    })
    const total = scores.reduce((sum, score) => sum + score, 0)
    for (let i = 0; i < headSize; i++) {
      y[head * headSize + i] = scores.reduce((sum, score, t) => sum + (score / total) * values[t][at + i], 0)
    }
  }
  return y
}
