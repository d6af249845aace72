import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { type ActivationName, activations } from '../../nn/activations.ts'
import { Attention } from '../../nn/attention.ts'
import { DecoderLayer } from '../../nn/decoderLayer.ts'
import { Embedding } from '../../nn/embedding.ts'
import { Linear } from '../../nn/linear.ts'
import { MLP } from '../../nn/mlp.ts'
import { LayerNorm } from '../../nn/normalization.ts'
import type { RopeOptions } from '../../nn/rope.ts'
import { RotaryEmbedding } from '../../nn/rotary.ts'
import type { CausalLMConfig } from '../causalLM.ts'
import { Decoder } from '../decoder.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import {
  activationField,
  headSizeOf,
  isGelu,
  positiveField,
  sizeField,
  tokenIdsField,
  type Warn,
} from './fields.ts'
import { checkGguf } from './ggufKeys.ts'
import { type RopeNames, ropeFields } from './ropeFields.ts'

/*
 * GPT-NeoX and Pythia: attention and MLP beside each other, a part of each head turned, and one projection
 * whose outputs are query, key and value of one head after the other.
 * Source: Black et al., "GPT-NeoX-20B", 2022; transformers, modeling_gpt_neox.py.
 */

/** What a GPT-NeoX checkpoint's config.json says, in this library's names. */
export interface GptNeoxConfig extends CausalLMConfig {
  intermediateSize: number
  normEpsilon: number
  activation: ActivationName
  rope: RopeOptions
  /** Whether the layers of the attention have biases. */
  attentionBias: boolean
  /** Whether attention and MLP stand beside each other. */
  parallel: boolean
}

const ropeNames: RopeNames = { theta: 'rotary_emb_base', factor: 'rotary_pct' }

/** The config of GPT-NeoX from its config.json; see `Family.parse`. */
export function parseGptNeoxConfig(json: JsonObject, warn: Warn = () => {}): GptNeoxConfig {
  const hiddenSize = sizeField(json, 'hidden_size')
  const heads = sizeField(json, 'num_attention_heads')
  const headSize = headSizeOf(json, 'num_attention_heads', hiddenSize, heads)
  const vocabularySize = sizeField(json, 'vocab_size')
  const maxPositions = sizeField(json, 'max_position_embeddings', 2048)
  return {
    hiddenSize,
    intermediateSize: sizeField(json, 'intermediate_size'),
    layers: sizeField(json, 'num_hidden_layers'),
    heads,
    keyValueHeads: heads,
    headSize,
    vocabularySize,
    maxPositions,
    normEpsilon: positiveField(json, 'layer_norm_eps', 1e-5),
    activation: activationField(json, 'hidden_act', 'gelu'),
    rope: ropeFields(
      json,
      { headSize, maxPositions },
      {
        partial: true,
        factor: 0.25,
        names: ropeNames,
      },
    ),
    attentionBias: json.boolean('attention_bias', true),
    parallel: json.boolean('use_parallel_residual', true),
    tieWordEmbeddings: json.boolean('tie_word_embeddings', false),
    eosTokenIds: tokenIdsField(json, 'eos_token_id', vocabularySize, warn),
  }
}

/** GPT-NeoX with its language-model head: token ids → logits. */
export class GPTNeoXForCausalLM extends DecoderLM<GptNeoxConfig> {
  constructor(config: GptNeoxConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, decoderOf, 'gpt_neox')
  }
}

function decoderOf(config: GptNeoxConfig, dtype: FloatDType): Decoder {
  const { hiddenSize, normEpsilon: eps } = config
  const norm = () => new LayerNorm(hiddenSize, { eps, dtype })
  const layer = (_: unknown, index: number) =>
    new DecoderLayer(
      {
        attentionNorm: norm(),
        mlpNorm: norm(),
        attention: attentionOf(config, index, dtype),
        mlp: mlpOf(config, dtype),
      },
      {
        type: 'GPTNeoXLayer',
        parts: { attentionNorm: 'input_layernorm', mlpNorm: 'post_attention_layernorm' },
      },
      { form: config.parallel ? 'parallel' : 'preNorm' },
    )
  return new Decoder(
    {
      embedding: new Embedding(config.vocabularySize, hiddenSize, { dtype }),
      layers: Array.from({ length: config.layers }, layer),
      norm: norm(),
      rotary: new RotaryEmbedding(config.rope, 'GPTNeoXRotaryEmbedding'),
    },
    {
      type: 'GPTNeoXModel',
      parts: { embedding: 'embed_in', norm: 'final_layer_norm', rotary: 'rotary_emb' },
    },
  )
}

function attentionOf(config: GptNeoxConfig, layer: number, dtype: FloatDType): Attention {
  const { hiddenSize, heads, headSize, attentionBias: bias } = config
  return new Attention(
    {
      qkv: new Linear(hiddenSize, 3 * hiddenSize, { bias, dtype }),
      output: new Linear(hiddenSize, hiddenSize, { bias, dtype }),
    },
    { layer, heads, keyValueHeads: heads, headSize, qkvByHead: true },
    { type: 'GPTNeoXAttention', parts: { qkv: 'query_key_value', output: 'dense' } },
  )
}

function mlpOf({ hiddenSize, intermediateSize, activation }: GptNeoxConfig, dtype: FloatDType): MLP {
  return new MLP(
    {
      up: new Linear(hiddenSize, intermediateSize, { dtype }),
      down: new Linear(intermediateSize, hiddenSize, { dtype }),
    },
    activations[activation],
    { type: 'GPTNeoXMLP', parts: { up: 'dense_h_to_4h', down: 'dense_4h_to_h' } },
  )
}

/** @throws FormatError if llama.cpp has no such model */
function keys(config: GptNeoxConfig): Record<string, number | boolean> {
  checkGguf('GPT-NeoX', {
    'have biases in the attention': config.attentionBias,
    'have a gelu as hidden_act': isGelu(config.activation),
  })
  return {
    context_length: config.maxPositions,
    embedding_length: config.hiddenSize,
    feed_forward_length: config.intermediateSize,
    block_count: config.layers,
    'attention.head_count': config.heads,
    'attention.layer_norm_epsilon': config.normEpsilon,
    'rope.dimension_count': config.rope.size,
    'rope.freq_base': config.rope.theta,
    use_parallel_residual: config.parallel,
    vocab_size: config.vocabularySize,
  }
}

export const gptNeox: Family<GptNeoxConfig> = {
  architectures: ['GPTNeoXForCausalLM'],
  modelTypes: ['gpt_neox'],
  parse: parseGptNeoxConfig,
  build: (config) => new GPTNeoXForCausalLM(config),
  names: {
    aliases: (path) => [path.replace(/^lm_head\b/, 'embed_out')],
    // Masks and tables, which older checkpoints carry.
    extras: /\.attention\.((masked_)?bias|rotary_emb\.inv_freq)$/,
  },
  gguf: {
    architecture: 'gptneox',
    fields: {
      hidden_size: 'embedding_length',
      intermediate_size: 'feed_forward_length',
      num_hidden_layers: 'block_count',
      num_attention_heads: 'attention.head_count',
      max_position_embeddings: 'context_length',
      layer_norm_eps: 'attention.layer_norm_epsilon',
    },
    optionalFields: {
      rotary_emb_base: 'rope.freq_base',
      use_parallel_residual: 'use_parallel_residual',
      vocab_size: 'vocab_size',
    },
    otherFields: (has) => ({ hidden_act: 'gelu', attention_bias: has('blk.0.attn_qkv.bias') }),
    keys,
    rope: ({ rope }) => rope,
    ropeNames,
    partialRotary: true,
    modules: {
      token_embd: 'gpt_neox.embed_in',
      output_norm: 'gpt_neox.final_layer_norm',
      output: 'lm_head',
      'blk.N.attn_norm': 'gpt_neox.layers.N.input_layernorm',
      'blk.N.attn_qkv': 'gpt_neox.layers.N.attention.query_key_value',
      'blk.N.attn_output': 'gpt_neox.layers.N.attention.dense',
      'blk.N.ffn_norm': 'gpt_neox.layers.N.post_attention_layernorm',
      'blk.N.ffn_up': 'gpt_neox.layers.N.mlp.dense_h_to_4h',
      'blk.N.ffn_down': 'gpt_neox.layers.N.mlp.dense_4h_to_h',
    },
    byHead: ['query_key_value'],
  },
}
