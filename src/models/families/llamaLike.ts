import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { Attention } from '../../nn/attention.ts'
import { DecoderLayer } from '../../nn/decoderLayer.ts'
import { Embedding } from '../../nn/embedding.ts'
import { Linear } from '../../nn/linear.ts'
import { GatedMLP } from '../../nn/mlp.ts'
import { RMSNorm } from '../../nn/rmsNorm.ts'
import type { RopeOptions } from '../../nn/rope.ts'
import { RotaryEmbedding } from '../../nn/rotary.ts'
import type { CausalLMConfig } from '../causalLM.ts'
import { Decoder } from '../decoder.ts'
import { positiveField, sizeField, tokenIdsField, type Warn, wordField } from './fields.ts'
import { ropeFields } from './ropeFields.ts'

/*
 * What the families that follow Llama share: norms before attention and a gated MLP, rotary positions, and
 * the names of fields and modules. Each says in its own file in what it differs.
 * Source: Touvron et al., "LLaMA", 2023; transformers, modeling_llama.py.
 */

/** What the config.json of such a model says, in this library's names. */
export interface LlamaLikeConfig extends CausalLMConfig {
  intermediateSize: number
  normEpsilon: number
  rope: RopeOptions
  /** Whether there are biases: in the projections to queries, keys and values, from the heads, in the MLP. */
  biases: { qkv: boolean; output: boolean; mlp: boolean }
  /** Tokens that each sees in a layer, itself the last of them; null where it sees all. */
  windows: readonly (number | null)[]
}

/** Where families differ in what a config.json may leave out, and in what it does not state. */
export interface LlamaLikeDefaults {
  keyValueHeads?: number
  maxPositions: number
  biases: LlamaLikeConfig['biases']
  /** Of layer `index`; default null everywhere. */
  window?(index: number): number | null
}

/** The config of such a model from its config.json; see `Family.parse`. */
export function parseLlamaLike(json: JsonObject, warn: Warn, defaults: LlamaLikeDefaults): LlamaLikeConfig {
  wordField(json, 'hidden_act', ['silu'], 'silu')
  const heads = sizeField(json, 'num_attention_heads')
  const hiddenSize = sizeField(json, 'hidden_size')
  const keyValueHeads = sizeField(json, 'num_key_value_heads', defaults.keyValueHeads ?? heads)
  if (heads % keyValueHeads !== 0)
    throw json.error('num_key_value_heads', `must divide num_attention_heads (${heads})`)
  const headSize = sizeField(json, 'head_dim', hiddenSize % heads === 0 ? hiddenSize / heads : undefined)
  if (headSize % 2 !== 0) throw json.error('head_dim', `must be even; it is ${headSize}`)
  const vocabularySize = sizeField(json, 'vocab_size')
  const maxPositions = sizeField(json, 'max_position_embeddings', defaults.maxPositions)
  const layers = sizeField(json, 'num_hidden_layers')
  return {
    hiddenSize,
    intermediateSize: sizeField(json, 'intermediate_size'),
    layers,
    heads,
    keyValueHeads,
    headSize,
    vocabularySize,
    maxPositions,
    normEpsilon: positiveField(json, 'rms_norm_eps', 1e-6),
    rope: ropeFields(json, { headSize, maxPositions }),
    tieWordEmbeddings: json.boolean('tie_word_embeddings', false),
    biases: defaults.biases,
    windows: Array.from({ length: layers }, (_, index) => defaults.window?.(index) ?? null),
    eosTokenIds: tokenIdsField(json, 'eos_token_id', vocabularySize, warn),
  }
}

/** Tables that older checkpoints hold, and that follow from the config. */
export const llamaLikeNames = { extras: /\.rotary_emb\.inv_freq$/ }

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
    'rope.dimension_count': config.headSize,
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

/**
 * Makes the decoder of such a model.
 * @param family what the names of its classes begin with
 */
export function llamaLikeDecoder(family: string) {
  return (config: LlamaLikeConfig, dtype: FloatDType): Decoder => {
    const { hiddenSize, normEpsilon } = config
    const norm = () => new RMSNorm(hiddenSize, normEpsilon, { dtype })
    const layer = (_: unknown, index: number) =>
      new DecoderLayer(
        {
          attention: attentionOf(family, config, index, dtype),
          mlp: mlpOf(family, config, dtype),
          attentionNorm: norm(),
          mlpNorm: norm(),
        },
        {
          type: `${family}DecoderLayer`,
          parts: {
            attention: 'self_attn',
            attentionNorm: 'input_layernorm',
            mlpNorm: 'post_attention_layernorm',
          },
        },
      )
    return new Decoder(
      {
        embedding: new Embedding(config.vocabularySize, hiddenSize, { dtype }),
        layers: Array.from({ length: config.layers }, layer),
        norm: norm(),
        rotary: new RotaryEmbedding(config.rope, `${family}RotaryEmbedding`),
      },
      { type: `${family}Model`, parts: { embedding: 'embed_tokens', rotary: 'rotary_emb' } },
    )
  }
}

function attentionOf(family: string, config: LlamaLikeConfig, layer: number, dtype: FloatDType): Attention {
  const { hiddenSize, heads, keyValueHeads, headSize, biases } = config
  const projection = (count: number) => new Linear(hiddenSize, count * headSize, { bias: biases.qkv, dtype })
  return new Attention(
    {
      q: projection(heads),
      k: projection(keyValueHeads),
      v: projection(keyValueHeads),
      output: new Linear(heads * headSize, hiddenSize, { bias: biases.output, dtype }),
    },
    { layer, heads, keyValueHeads, headSize, window: config.windows[layer] ?? undefined },
    { type: `${family}Attention`, parts: { q: 'q_proj', k: 'k_proj', v: 'v_proj', output: 'o_proj' } },
  )
}

function mlpOf(family: string, config: LlamaLikeConfig, dtype: FloatDType): GatedMLP {
  const { hiddenSize, intermediateSize, biases } = config
  const options = { bias: biases.mlp, dtype }
  return new GatedMLP(
    {
      gate: new Linear(hiddenSize, intermediateSize, options),
      up: new Linear(hiddenSize, intermediateSize, options),
      down: new Linear(intermediateSize, hiddenSize, options),
    },
    { type: `${family}MLP`, parts: { gate: 'gate_proj', up: 'up_proj', down: 'down_proj' } },
  )
}
