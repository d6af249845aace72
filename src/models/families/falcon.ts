import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { type ActivationName, activations } from '../../nn/activations.ts'
import { Alibi } from '../../nn/alibi.ts'
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
import type { Family, GgufModules } from './family.ts'
import {
  activationField,
  headSizeOf,
  hiddenSizeField,
  isGelu,
  positiveField,
  sizeField,
  tokenIdsField,
  type Warn,
} from './fields.ts'
import { checkGguf } from './ggufKeys.ts'
import { ropeFields } from './ropeFields.ts'

/*
 * Falcon, in three layouts: one key and value for all heads (7B), groups of heads with a key and value each
 * (40B, 180B, Falcon 2 11B), a key and value for each head and ALiBi's biases (RW). One projection gives
 * queries, keys and values: of each key-value head its queries, its key and its value.
 * Source: Almazrouei et al., "The Falcon Series of Open Language Models", 2023; transformers,
 * modeling_falcon.py.
 */

/** Which norms a layer has, and whether attention and MLP stand beside each other. */
type FalconLayout =
  /** MLP after attention, a norm before each. */
  | 'sequential'
  /** Beside each other on one norm. */
  | 'oneNorm'
  /** Beside each other on a norm each. */
  | 'twoNorms'

/** What a Falcon checkpoint's config.json says, in this library's names. */
export interface FalconConfig extends CausalLMConfig {
  intermediateSize: number
  normEpsilon: number
  activation: ActivationName
  /** How positions turn; null where ALiBi's biases tell them apart. */
  rope: RopeOptions | null
  layout: FalconLayout
  /** Whether layers have biases. */
  bias: boolean
}

/** The config of Falcon from its config.json; see `Family.parse`. */
export function parseFalconConfig(json: JsonObject, warn: Warn = () => {}): FalconConfig {
  const hiddenSize = hiddenSizeField(json)
  const heads = sizeField(json, 'num_attention_heads')
  const headSize = headSizeOf(json, 'num_attention_heads', hiddenSize, heads)
  if (json.boolean('apply_residual_connection_post_layernorm', false))
    throw json.error('apply_residual_connection_post_layernorm', 'must be false')
  const isNew = json.boolean('new_decoder_architecture', false)
  const isOneKey = !isNew && json.boolean('multi_query', true)
  const keyValueHeads = isOneKey ? 1 : sizeField(json, 'num_kv_heads', heads)
  if (heads % keyValueHeads !== 0)
    throw json.error('num_kv_heads', `must divide num_attention_heads (${heads})`)
  // Both are equal in transformers, whatever the field says.
  if (!isNew && !isOneKey && keyValueHeads !== heads)
    throw json.error('num_kv_heads', `must be num_attention_heads (${heads}) in this layout`)
  const vocabularySize = sizeField(json, 'vocab_size')
  const maxPositions = sizeField(json, 'max_position_embeddings', 2048)
  return {
    hiddenSize,
    intermediateSize: sizeField(json, 'ffn_hidden_size', 4 * hiddenSize),
    layers: sizeField(json, 'num_hidden_layers'),
    heads,
    keyValueHeads,
    headSize,
    vocabularySize,
    maxPositions,
    normEpsilon: positiveField(json, 'layer_norm_epsilon', 1e-5),
    activation: activationField(json, 'activation', 'gelu'),
    rope: json.boolean('alibi', false) ? null : ropeFields(json, { headSize, maxPositions }),
    layout: layoutOf(json, isNew),
    bias: json.boolean('bias', false),
    tieWordEmbeddings: json.boolean('tie_word_embeddings', true),
    eosTokenIds: tokenIdsField(json, 'eos_token_id', vocabularySize, warn),
  }
}

function layoutOf(json: JsonObject, isNew: boolean): FalconLayout {
  const isParallel = json.boolean('parallel_attn', true)
  if (isNew && !isParallel) throw json.error('parallel_attn', 'must be true with new_decoder_architecture')
  const norms = json.positiveInteger('num_ln_in_parallel_attn', isNew ? 2 : 1)
  if (norms > (isNew ? 2 : 1))
    throw json.error('num_ln_in_parallel_attn', isNew ? 'must be 1 or 2' : 'must be 1 in this layout')
  if (!isParallel) return 'sequential'
  return norms === 2 ? 'twoNorms' : 'oneNorm'
}

/** Falcon with its language-model head: token ids → logits. */
export class FalconForCausalLM extends DecoderLM<FalconConfig> {
  constructor(config: FalconConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, decoderOf, 'transformer')
  }
}

function decoderOf(config: FalconConfig, dtype: FloatDType): Decoder {
  const { hiddenSize, heads, headSize, rope, layout, normEpsilon: eps } = config
  const norm = () => new LayerNorm(hiddenSize, { eps, dtype })
  const [attentionNorm, mlpNorm] =
    layout === 'twoNorms' ? ['ln_attn', 'ln_mlp'] : ['input_layernorm', 'post_attention_layernorm']
  const layer = (_: unknown, index: number) =>
    new DecoderLayer(
      {
        attention: attentionOf(config, index, dtype),
        mlp: mlpOf(config, dtype),
        ...(layout !== 'oneNorm' && { mlpNorm: norm() }),
        attentionNorm: norm(),
      },
      { type: 'FalconDecoderLayer', parts: { attention: 'self_attention', attentionNorm, mlpNorm } },
      { form: layout === 'sequential' ? 'preNorm' : 'parallel' },
    )
  return new Decoder(
    {
      embedding: new Embedding(config.vocabularySize, hiddenSize, { dtype }),
      layers: Array.from({ length: config.layers }, layer),
      norm: norm(),
      ...(rope
        ? { rotary: new RotaryEmbedding(rope, 'FalconRotaryEmbedding') }
        : // transformers rounds the biases, and scales them as it does the products of queries and keys.
          { alibi: new Alibi({ heads, scale: 1 / Math.sqrt(headSize), dtype: 'bfloat16' }) }),
    },
    {
      type: 'FalconModel',
      parts: { embedding: 'word_embeddings', layers: 'h', norm: 'ln_f', rotary: 'rotary_emb' },
    },
  )
}

function attentionOf(config: FalconConfig, layer: number, dtype: FloatDType): Attention {
  const { hiddenSize, heads, keyValueHeads, headSize, bias } = config
  return new Attention(
    {
      qkv: new Linear(hiddenSize, (heads + 2 * keyValueHeads) * headSize, { bias, dtype }),
      output: new Linear(hiddenSize, hiddenSize, { bias, dtype }),
    },
    { layer, heads, keyValueHeads, headSize, qkvByHead: true },
    { type: 'FalconAttention', parts: { qkv: 'query_key_value', output: 'dense' } },
  )
}

function mlpOf({ hiddenSize, intermediateSize, activation, bias }: FalconConfig, dtype: FloatDType): MLP {
  return new MLP(
    {
      up: new Linear(hiddenSize, intermediateSize, { bias, dtype }),
      down: new Linear(intermediateSize, hiddenSize, { bias, dtype }),
    },
    activations[activation],
    { type: 'FalconMLP', parts: { up: 'dense_h_to_4h', down: 'dense_4h_to_h' } },
  )
}

/** @throws FormatError if llama.cpp has no such model */
function keys(config: FalconConfig): Record<string, number> {
  const { rope, layout, bias, activation, heads, keyValueHeads } = config
  checkGguf('Falcon', {
    'have rotary positions': rope !== null,
    'have attention and MLP beside each other': layout !== 'sequential',
    'have no biases': !bias,
    'have a gelu as activation': isGelu(activation),
  })
  return {
    context_length: config.maxPositions,
    embedding_length: config.hiddenSize,
    feed_forward_length: config.intermediateSize,
    block_count: config.layers,
    'attention.head_count': heads,
    'attention.head_count_kv': keyValueHeads,
    'attention.layer_norm_epsilon': config.normEpsilon,
    ...(rope && { 'rope.freq_base': rope.theta }),
    vocab_size: config.vocabularySize,
  }
}

export const falcon: Family<FalconConfig> = {
  architectures: ['FalconForCausalLM'],
  modelTypes: ['falcon'],
  parse: parseFalconConfig,
  build: (config) => new FalconForCausalLM(config),
  names: {
    aliases: (path) => [path.replace(/^transformer\./, '')],
    extras: /\.rotary_emb\.inv_freq$/,
  },
  gguf: {
    architecture: 'falcon',
    fields: {
      hidden_size: 'embedding_length',
      num_hidden_layers: 'block_count',
      num_attention_heads: 'attention.head_count',
      layer_norm_epsilon: 'attention.layer_norm_epsilon',
    },
    optionalFields: {
      ffn_hidden_size: 'feed_forward_length',
      max_position_embeddings: 'context_length',
      num_kv_heads: 'attention.head_count_kv',
      rope_theta: 'rope.freq_base',
      vocab_size: 'vocab_size',
    },
    otherFields: (has, value) => {
      const norms = has('blk.0.attn_norm_2.weight') ? 2 : 1
      const isNew = norms === 2 || value('attention.head_count_kv') !== 1
      return {
        activation: 'gelu',
        multi_query: !isNew,
        new_decoder_architecture: isNew,
        num_ln_in_parallel_attn: norms,
      }
    },
    keys,
    rope: ({ rope }) => rope,
    modules: {
      token_embd: 'transformer.word_embeddings',
      output_norm: 'transformer.ln_f',
      output: 'lm_head',
      'blk.N.attn_qkv': 'transformer.h.N.self_attention.query_key_value',
      'blk.N.attn_output': 'transformer.h.N.self_attention.dense',
      'blk.N.ffn_up': 'transformer.h.N.mlp.dense_h_to_4h',
      'blk.N.ffn_down': 'transformer.h.N.mlp.dense_4h_to_h',
    },
    otherModules: ({ layout }): GgufModules =>
      layout === 'twoNorms'
        ? { 'blk.N.attn_norm': 'transformer.h.N.ln_mlp', 'blk.N.attn_norm_2': 'transformer.h.N.ln_attn' }
        : { 'blk.N.attn_norm': 'transformer.h.N.input_layernorm' },
    byHead: ['query_key_value'],
  },
}
