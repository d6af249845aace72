import type { JsonObject } from '../../formats/json.ts'
import type { ActivationName } from '../../nn/activations.ts'
import type { RopeOptions } from '../../nn/rope.ts'
import type { CausalLMConfig } from '../causalLM.ts'
import type { DecoderOptions } from '../decoder.ts'
import type { LogitOptions } from '../decoderLM.ts'
import { positiveField, sizeField, tokenIdsField, type Warn, wordField } from './fields.ts'
import { type RopeDefaults, ropeFields } from './ropeFields.ts'

/*
 * What the families that follow Llama share: norms before attention and a gated MLP, rotary positions, and
 * the names of fields and modules. Each says in its own file in what it differs.
 * Source: Touvron et al., "LLaMA", 2023; transformers, modeling_llama.py.
 */

/** What the config.json of such a model says, in this library's names. */
export interface LlamaLikeConfig
  extends CausalLMConfig,
    DecoderOptions,
    Pick<LogitOptions, 'logitScale' | 'finalSoftcap'> {
  intermediateSize: number
  normEpsilon: number
  activation: ActivationName
  rope: RopeOptions
  /** Of the layers for which `layerRotary` says so. */
  localRope?: RopeOptions
  /** Whether there are biases: in the projections to queries, keys and values, from the heads, in the MLP. */
  biases: { qkv: boolean; output: boolean; mlp: boolean }
  /** Tokens that each sees in a layer, itself the last of them; null where it sees all. */
  windows: readonly (number | null)[]
  /** Multiplies q · k; default 1/√headSize. */
  attentionScale?: number
  /** Bounds the scores of attention. */
  attentionSoftcap?: number
  /** Multiplies what attention and MLP give, before it is added; default 1. */
  residualMultiplier?: number
}

/** Where families differ in what a config.json may leave out, and in what it does not state. */
export interface LlamaLikeDefaults {
  keyValueHeads?: number
  /** Default: what the hidden size gives each head. */
  headSize?: number
  maxPositions: number
  /** The field of the norms' epsilon, and its default; default `rms_norm_eps` and 1e-6. */
  epsilon?: [key: 'rms_norm_eps' | 'layer_norm_eps', value: number]
  /** The field of the activation, and what it may be, the default first; default `hidden_act` and silu. */
  activation?: [key: string, ...names: [ActivationName, ...ActivationName[]]]
  rope?: RopeDefaults
  tieWordEmbeddings?: boolean
  biases: LlamaLikeConfig['biases']
  /** Of layer `index`; default null everywhere. */
  window?(index: number): number | null
}

/** The config of such a model from its config.json; see `Family.parse`. */
export function parseLlamaLike(json: JsonObject, warn: Warn, defaults: LlamaLikeDefaults): LlamaLikeConfig {
  const [activationKey, ...activationNames] = defaults.activation ?? ['hidden_act', 'silu']
  const activation = wordField(json, activationKey, activationNames, activationNames[0])
  const heads = sizeField(json, 'num_attention_heads')
  const hiddenSize = sizeField(json, 'hidden_size')
  const keyValueHeads = sizeField(json, 'num_key_value_heads', defaults.keyValueHeads ?? heads)
  if (heads % keyValueHeads !== 0)
    throw json.error('num_key_value_heads', `must divide num_attention_heads (${heads})`)
  const evenly = hiddenSize % heads === 0 ? hiddenSize / heads : undefined
  const headSize = sizeField(json, 'head_dim', defaults.headSize ?? evenly)
  if (headSize % 2 !== 0) throw json.error('head_dim', `must be even; it is ${headSize}`)
  const vocabularySize = sizeField(json, 'vocab_size')
  const maxPositions = sizeField(json, 'max_position_embeddings', defaults.maxPositions)
  const layers = sizeField(json, 'num_hidden_layers')
  const [epsilonKey, epsilon] = defaults.epsilon ?? ['rms_norm_eps', 1e-6]
  return {
    hiddenSize,
    intermediateSize: sizeField(json, 'intermediate_size'),
    layers,
    heads,
    keyValueHeads,
    headSize,
    vocabularySize,
    maxPositions,
    normEpsilon: positiveField(json, epsilonKey, epsilon),
    activation,
    rope: ropeFields(json, { headSize, maxPositions }, defaults.rope),
    tieWordEmbeddings: json.boolean('tie_word_embeddings', defaults.tieWordEmbeddings ?? false),
    biases: defaults.biases,
    windows: Array.from({ length: layers }, (_, index) => defaults.window?.(index) ?? null),
    eosTokenIds: tokenIdsField(json, 'eos_token_id', vocabularySize, warn),
  }
}

/**
 * The window of each layer, as `layer_types` lists them; where there is no list, as `slides` says.
 * @param window of the layers that have one; null: all see all tokens
 * @throws FormatError for a layer of another type
 */
export function layerWindow(
  json: JsonObject,
  window: number | null,
  slides: (layer: number) => boolean,
): (layer: number) => number | null {
  const types = json.strings('layer_types', [])
  return (layer) => {
    if (types.length === 0) return slides(layer) ? window : null
    if (types[layer] === 'full_attention') return null
    if (types[layer] === 'sliding_attention' && window !== null) return window
    const known = window === null ? '"full_attention", as there is no window,' : 'sliding or full attention'
    throw json.error('layer_types', `must have ${known} for layer ${layer}`)
  }
}

/** Tables that older checkpoints hold, and that follow from the config. */
export const llamaLikeNames = { extras: /\.rotary_emb\.inv_freq$/ }

/** How GGUF files name the norms of queries and keys. */
export const headNormModules = {
  'blk.N.attn_q_norm': 'model.layers.N.self_attn.q_norm',
  'blk.N.attn_k_norm': 'model.layers.N.self_attn.k_norm',
} as const

/** How GGUF files describe such a model, `architecture` aside. */
export const llamaLikeGguf = {
  fields: {
    hidden_size: 'embedding_length',
    intermediate_size: 'feed_forward_length',
    num_hidden_layers: 'block_count',
    num_attention_heads: 'attention.head_count',
    max_position_embeddings: 'context_length',
    rms_norm_eps: 'attention.layer_norm_rms_epsilon',
  },
  optionalFields: {
    num_key_value_heads: 'attention.head_count_kv',
    head_dim: 'attention.key_length',
    rope_theta: 'rope.freq_base',
    vocab_size: 'vocab_size',
  },
  keys: (config: LlamaLikeConfig) => ({
    context_length: config.maxPositions,
    embedding_length: config.hiddenSize,
    block_count: config.layers,
    feed_forward_length: config.intermediateSize,
    'attention.head_count': config.heads,
    'attention.head_count_kv': config.keyValueHeads,
    'attention.layer_norm_rms_epsilon': config.normEpsilon,
    'attention.key_length': config.headSize,
    'attention.value_length': config.headSize,
    'rope.dimension_count': config.rope.size,
    'rope.freq_base': config.rope.theta,
    vocab_size: config.vocabularySize,
  }),
  rope: (config: LlamaLikeConfig) => config.rope,
  modules: {
    token_embd: 'model.embed_tokens',
    output_norm: 'model.norm',
    output: 'lm_head',
    'blk.N.attn_norm': 'model.layers.N.input_layernorm',
    'blk.N.attn_q': 'model.layers.N.self_attn.q_proj',
    'blk.N.attn_k': 'model.layers.N.self_attn.k_proj',
    'blk.N.attn_v': 'model.layers.N.self_attn.v_proj',
    'blk.N.attn_output': 'model.layers.N.self_attn.o_proj',
    'blk.N.ffn_norm': 'model.layers.N.post_attention_layernorm',
    'blk.N.ffn_gate': 'model.layers.N.mlp.gate_proj',
    'blk.N.ffn_up': 'model.layers.N.mlp.up_proj',
    'blk.N.ffn_down': 'model.layers.N.mlp.down_proj',
  },
} as const

const { rms_norm_eps: _field, ...fields } = llamaLikeGguf.fields

/** The same for families with layer norms. */
export const layerNormGguf = {
  ...llamaLikeGguf,
  fields: { ...fields, layer_norm_eps: 'attention.layer_norm_epsilon' },
  keys(config: LlamaLikeConfig) {
    const { 'attention.layer_norm_rms_epsilon': epsilon, ...keys } = llamaLikeGguf.keys(config)
    return { ...keys, 'attention.layer_norm_epsilon': epsilon }
  },
} as const
