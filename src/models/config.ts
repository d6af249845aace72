import { type JsonObject, show } from '../formats/json.ts'
import type { CausalLMConfig } from './causalLM.ts'
import type { LongRope, RopeScaling } from './rope.ts'

/** What a Llama checkpoint's config.json says, in this library's names. */
export interface LlamaConfig extends CausalLMConfig {
  intermediateSize: number
  normEpsilon: number
  ropeTheta: number
  ropeScaling: RopeScaling
  attentionBias: boolean
  mlpBias: boolean
}

/**
 * Larger than any published model, small enough that no product of two overflows: what is above is a broken
 * file.
 */
const limits = {
  hidden_size: 2 ** 20,
  intermediate_size: 2 ** 22,
  num_hidden_layers: 4096,
  num_attention_heads: 2 ** 16,
  num_key_value_heads: 2 ** 16,
  head_dim: 2 ** 16,
  vocab_size: 2 ** 24,
  max_position_embeddings: 2 ** 28,
  n_embd: 2 ** 20,
  n_inner: 2 ** 22,
  n_layer: 4096,
  n_head: 2 ** 16,
  n_positions: 2 ** 28,
} as const

/**
 * @param json the parsed config.json
 * @param warn is told what is ignored since it is not sound
 * @throws FormatError if a field is missing, of the wrong type, or out of range
 */
export function parseLlamaConfig(json: JsonObject, warn: (message: string) => void = () => {}): LlamaConfig {
  const size = (key: keyof typeof limits, fallback?: number) => sizeOf(json, key, fallback)
  if (json.string('hidden_act', 'silu') !== 'silu') throw json.error('hidden_act', 'must be "silu"')
  const heads = size('num_attention_heads')
  const hiddenSize = size('hidden_size')
  const keyValueHeads = size('num_key_value_heads', heads)
  if (heads % keyValueHeads !== 0)
    throw json.error('num_key_value_heads', `must divide num_attention_heads (${heads})`)
  const headSize = size('head_dim', hiddenSize % heads === 0 ? hiddenSize / heads : undefined)
  if (headSize % 2 !== 0) throw json.error('head_dim', `must be even; it is ${headSize}`)
  // Transformers 5 writes rope_parameters, earlier versions rope_theta and rope_scaling.
  const rope = json.has('rope_parameters')
    ? json.object('rope_parameters')
    : json.has('rope_scaling')
      ? json.object('rope_scaling')
      : null
  const [vocabularySize, maxPositions] = [size('vocab_size'), size('max_position_embeddings', 2048)]
  return {
    hiddenSize,
    intermediateSize: size('intermediate_size'),
    layers: size('num_hidden_layers'),
    heads,
    keyValueHeads,
    headSize,
    vocabularySize,
    maxPositions,
    normEpsilon: positive(json, 'rms_norm_eps', 1e-6),
    ropeTheta: positive(rope?.has('rope_theta') ? rope : json, 'rope_theta', 10000),
    ropeScaling: rope ? parseRopeScaling(rope, json, { headSize, maxPositions }) : { type: 'default' },
    tieWordEmbeddings: json.boolean('tie_word_embeddings', false),
    attentionBias: json.boolean('attention_bias', false),
    mlpBias: json.boolean('mlp_bias', false),
    eosTokenIds: tokenIds(json, 'eos_token_id', vocabularySize, warn),
  }
}

function sizeOf(json: JsonObject, key: keyof typeof limits, fallback?: number): number {
  const value = json.positiveInteger(key, fallback)
  if (value <= limits[key]) return value
  throw json.error(key, `must be at most ${limits[key]}`)
}

function positive(object: JsonObject, key: string, fallback?: number): number {
  const value = object.number(key, fallback)
  if (value > 0) return value
  throw object.error(key, 'must be above 0')
}

/**
 * The token ids of a field that holds one, a list of them, or none.
 * @param warn is told of those that are no ids of the vocabulary, which no text can hold
 */
export function tokenIds(
  json: JsonObject,
  key: string,
  vocabularySize: number,
  warn: (message: string) => void,
): number[] {
  const value = json.get(key) ?? []
  const listed: unknown[] = Array.isArray(value) ? value : [value]
  const isId = (id: unknown): id is number =>
    Number.isInteger(id) && Number(id) >= 0 && Number(id) < vocabularySize
  const strange = listed.filter((id) => !isId(id))
  if (strange.length > 0)
    warn(
      `${json.name}: ${key} must hold ids below the vocabulary's size (${vocabularySize}); ignored: ${show(strange)}`,
    )
  return listed.filter(isId)
}

interface RopeSizes {
  headSize: number
  maxPositions: number
}

/** @param config all of config.json, where some fields may stand, too */
function parseRopeScaling(json: JsonObject, config: JsonObject, sizes: RopeSizes): RopeScaling {
  const key = json.has('rope_type') ? 'rope_type' : 'type'
  const type = json.string(key, 'default')
  if (type === 'default') return { type }
  if (type === 'linear') return { type, factor: positive(json, 'factor') }
  if (type === 'longrope') return parseLongRope(json, config, sizes)
  if (type !== 'llama3') throw json.error(key, 'must be "default", "linear", "llama3" or "longrope"')
  return {
    type,
    factor: positive(json, 'factor'),
    lowFrequencyFactor: positive(json, 'low_freq_factor'),
    highFrequencyFactor: positive(json, 'high_freq_factor'),
    originalMaxPositions: positive(json, 'original_max_position_embeddings'),
  }
}

/** Source: transformers, modeling_rope_utils.py, `_compute_longrope_parameters`. */
function parseLongRope(
  json: JsonObject,
  config: JsonObject,
  { headSize, maxPositions }: RopeSizes,
): LongRope {
  const factors = (key: string) => {
    const list = json.positives(key)
    if (list.length === headSize / 2) return list
    throw json.error(
      key,
      `must have ${headSize / 2} numbers, one for every pair of a head; it has ${list.length}`,
    )
  }
  const original = 'original_max_position_embeddings'
  const originalMaxPositions = positive(config.has(original) ? config : json, original, maxPositions)
  const factor = positive(json, 'factor', maxPositions / originalMaxPositions)
  const attentionFactor = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxPositions))
  return {
    type: 'longrope',
    shortFactors: factors('short_factor'),
    longFactors: factors('long_factor'),
    originalMaxPositions,
    attentionFactor: positive(json, 'attention_factor', attentionFactor),
  }
}

const gpt2Activations = ['gelu_new', 'gelu_pytorch_tanh', 'gelu', 'relu'] as const
export type Gpt2Activation = (typeof gpt2Activations)[number]

/** What a GPT-2 checkpoint's config.json says, in this library's names. */
export interface Gpt2Config extends CausalLMConfig {
  intermediateSize: number
  normEpsilon: number
  activation: Gpt2Activation
  /** Whether attention in layer i is scaled by 1 / (i + 1), too. */
  scaleByLayer: boolean
}

/**
 * @param json the parsed config.json
 * @param warn is told what is ignored since it is not sound
 * @throws FormatError if a field is missing, of the wrong type, out of range, or asks for what is not
 * supported
 */
export function parseGpt2Config(json: JsonObject, warn: (message: string) => void = () => {}): Gpt2Config {
  const hiddenSize = sizeOf(json, 'n_embd')
  const heads = sizeOf(json, 'n_head')
  if (hiddenSize % heads !== 0) throw json.error('n_head', `must divide n_embd (${hiddenSize})`)
  const name = json.string('activation_function', 'gelu_new')
  const activation = gpt2Activations.find((known) => known === name)
  if (!activation) throw json.error('activation_function', `must be ${gpt2Activations.join(', ')}`)
  if (json.boolean('add_cross_attention', false)) throw json.error('add_cross_attention', 'must be false')
  if (!json.boolean('scale_attn_weights', true)) throw json.error('scale_attn_weights', 'must be true')
  const vocabularySize = sizeOf(json, 'vocab_size')
  return {
    hiddenSize,
    intermediateSize: sizeOf(json, 'n_inner', 4 * hiddenSize),
    layers: sizeOf(json, 'n_layer'),
    heads,
    keyValueHeads: heads,
    headSize: hiddenSize / heads,
    vocabularySize,
    maxPositions: sizeOf(json, 'n_positions', 1024),
    normEpsilon: positive(json, 'layer_norm_epsilon', 1e-5),
    activation,
    scaleByLayer: json.boolean('scale_attn_by_inverse_layer_idx', false),
    tieWordEmbeddings: json.boolean('tie_word_embeddings', true),
    eosTokenIds: tokenIds(json, 'eos_token_id', vocabularySize, warn),
  }
}
