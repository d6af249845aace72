import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { activations } from '../../nn/activations.ts'
import { Alibi } from '../../nn/alibi.ts'
import { Attention } from '../../nn/attention.ts'
import { DecoderLayer } from '../../nn/decoderLayer.ts'
import { Embedding } from '../../nn/embedding.ts'
import { Linear } from '../../nn/linear.ts'
import { MLP } from '../../nn/mlp.ts'
import { LayerNorm } from '../../nn/normalization.ts'
import type { CausalLMConfig } from '../causalLM.ts'
import { Decoder } from '../decoder.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { headSizeOf, hiddenSizeField, positiveField, sizeField, tokenIdsField, type Warn } from './fields.ts'

/*
 * BLOOM: no positions but ALiBi's biases, a norm of the embedding, and one projection whose outputs are
 * query, key and value of one head after the other.
 * Source: BigScience, "BLOOM", 2022; transformers, modeling_bloom.py.
 */

/** What a BLOOM checkpoint's config.json says, in this library's names. */
export interface BloomConfig extends CausalLMConfig {
  normEpsilon: number
}

/** The config of BLOOM from its config.json; see `Family.parse`. */
export function parseBloomConfig(json: JsonObject, warn: Warn = () => {}): BloomConfig {
  const hiddenSize = hiddenSizeField(json)
  const count = (name: 'n_layer' | 'n_head', other: 'num_hidden_layers' | 'num_attention_heads') =>
    json.has(name) ? sizeField(json, name) : sizeField(json, other)
  const heads = count('n_head', 'num_attention_heads')
  if (json.boolean('apply_residual_connection_post_layernorm', false))
    throw json.error('apply_residual_connection_post_layernorm', 'must be false')
  const vocabularySize = sizeField(json, 'vocab_size')
  return {
    hiddenSize,
    layers: count('n_layer', 'num_hidden_layers'),
    heads,
    keyValueHeads: heads,
    headSize: headSizeOf(json, 'n_head', hiddenSize, heads),
    vocabularySize,
    // Biases go on for texts of any length; BLOOM was trained on as many tokens.
    maxPositions: sizeField(json, 'seq_length', 2048),
    normEpsilon: positiveField(json, 'layer_norm_epsilon', 1e-5),
    tieWordEmbeddings: json.boolean('tie_word_embeddings', true),
    eosTokenIds: tokenIdsField(json, 'eos_token_id', vocabularySize, warn),
  }
}

/** BLOOM with its language-model head: token ids → logits. */
export class BloomForCausalLM extends DecoderLM<BloomConfig> {
  constructor(config: BloomConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, decoderOf, 'transformer')
  }
}

function decoderOf(config: BloomConfig, dtype: FloatDType): Decoder {
  const { hiddenSize, heads, normEpsilon: eps } = config
  const norm = () => new LayerNorm(hiddenSize, { eps, dtype })
  const layer = (_: unknown, index: number) =>
    new DecoderLayer(
      {
        attentionNorm: norm(),
        attention: attentionOf(config, index, dtype),
        mlpNorm: norm(),
        mlp: mlpOf(config, dtype),
      },
      {
        type: 'BloomBlock',
        parts: {
          attentionNorm: 'input_layernorm',
          attention: 'self_attention',
          mlpNorm: 'post_attention_layernorm',
        },
      },
    )
  return new Decoder(
    {
      embedding: new Embedding(config.vocabularySize, hiddenSize, { dtype }),
      embeddingNorm: norm(),
      layers: Array.from({ length: config.layers }, layer),
      norm: norm(),
      alibi: new Alibi({ heads }),
    },
    {
      type: 'BloomModel',
      parts: {
        embedding: 'word_embeddings',
        embeddingNorm: 'word_embeddings_layernorm',
        layers: 'h',
        norm: 'ln_f',
      },
    },
  )
}

function attentionOf(config: BloomConfig, layer: number, dtype: FloatDType): Attention {
  const { hiddenSize, heads, headSize } = config
  return new Attention(
    {
      qkv: new Linear(hiddenSize, 3 * hiddenSize, { dtype }),
      output: new Linear(hiddenSize, hiddenSize, { dtype }),
    },
    { layer, heads, keyValueHeads: heads, headSize, qkvByHead: true },
    { type: 'BloomAttention', parts: { qkv: 'query_key_value', output: 'dense' } },
  )
}

function mlpOf({ hiddenSize }: BloomConfig, dtype: FloatDType): MLP {
  return new MLP(
    {
      up: new Linear(hiddenSize, 4 * hiddenSize, { dtype }),
      down: new Linear(4 * hiddenSize, hiddenSize, { dtype }),
    },
    activations.gelu_pytorch_tanh,
    { type: 'BloomMLP', parts: { up: 'dense_h_to_4h', down: 'dense_4h_to_h' } },
  )
}

export const bloom: Family<BloomConfig> = {
  architectures: ['BloomForCausalLM'],
  modelTypes: ['bloom'],
  parse: parseBloomConfig,
  build: (config) => new BloomForCausalLM(config),
  names: {
    // BigScience's own checkpoints hold the transformer alone.
    aliases: (path) => [path.replace(/^transformer\./, '')],
  },
  gguf: {
    architecture: 'bloom',
    fields: {
      hidden_size: 'embedding_length',
      n_layer: 'block_count',
      n_head: 'attention.head_count',
      layer_norm_epsilon: 'attention.layer_norm_epsilon',
    },
    optionalFields: { seq_length: 'context_length', vocab_size: 'vocab_size' },
    keys: (config) => ({
      context_length: config.maxPositions,
      embedding_length: config.hiddenSize,
      feed_forward_length: 4 * config.hiddenSize,
      block_count: config.layers,
      'attention.head_count': config.heads,
      'attention.head_count_kv': config.heads,
      'attention.layer_norm_epsilon': config.normEpsilon,
      vocab_size: config.vocabularySize,
    }),
    modules: {
      token_embd: 'transformer.word_embeddings',
      token_embd_norm: 'transformer.word_embeddings_layernorm',
      output_norm: 'transformer.ln_f',
      output: 'lm_head',
      'blk.N.attn_norm': 'transformer.h.N.input_layernorm',
      'blk.N.attn_qkv': 'transformer.h.N.self_attention.query_key_value',
      'blk.N.attn_output': 'transformer.h.N.self_attention.dense',
      'blk.N.ffn_norm': 'transformer.h.N.post_attention_layernorm',
      'blk.N.ffn_up': 'transformer.h.N.mlp.dense_h_to_4h',
      'blk.N.ffn_down': 'transformer.h.N.mlp.dense_4h_to_h',
    },
    byHead: ['query_key_value'],
  },
}
