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
import { ropeFields } from './ropeFields.ts'

/*
 * Phi-1, 1.5 and 2: attention and MLP beside each other on one norm, a part of each head turned, biases
 * everywhere, the head's included.
 * Source: Gunasekar et al., "Textbooks Are All You Need", 2023; transformers, modeling_phi.py.
 */

/** What a Phi checkpoint's config.json says, in this library's names. */
export interface PhiConfig extends CausalLMConfig {
  intermediateSize: number
  normEpsilon: number
  activation: ActivationName
  rope: RopeOptions
  /** Whether each head's queries and keys are normalized. */
  headNorms: boolean
}

/** The config of Phi from its config.json; see `Family.parse`. */
export function parsePhiConfig(json: JsonObject, warn: Warn = () => {}): PhiConfig {
  const hiddenSize = sizeField(json, 'hidden_size')
  const heads = sizeField(json, 'num_attention_heads')
  const headSize = headSizeOf(json, 'num_attention_heads', hiddenSize, heads)
  const keyValueHeads = sizeField(json, 'num_key_value_heads', heads)
  if (heads % keyValueHeads !== 0)
    throw json.error('num_key_value_heads', `must divide num_attention_heads (${heads})`)
  const vocabularySize = sizeField(json, 'vocab_size')
  const maxPositions = sizeField(json, 'max_position_embeddings', 2048)
  return {
    hiddenSize,
    intermediateSize: sizeField(json, 'intermediate_size'),
    layers: sizeField(json, 'num_hidden_layers'),
    heads,
    keyValueHeads,
    headSize,
    vocabularySize,
    maxPositions,
    normEpsilon: positiveField(json, 'layer_norm_eps', 1e-5),
    activation: activationField(json, 'hidden_act', 'gelu_new'),
    rope: ropeFields(json, { headSize, maxPositions }, { partial: true, factor: 0.5 }),
    headNorms: json.boolean('qk_layernorm', false),
    tieWordEmbeddings: json.boolean('tie_word_embeddings', false),
    eosTokenIds: tokenIdsField(json, 'eos_token_id', vocabularySize, warn),
  }
}

/** Phi with its language-model head: token ids → logits. */
export class PhiForCausalLM extends DecoderLM<PhiConfig> {
  constructor(config: PhiConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, decoderOf, 'model', { headBias: true })
  }
}

function decoderOf(config: PhiConfig, dtype: FloatDType): Decoder {
  const { hiddenSize, normEpsilon: eps } = config
  const norm = () => new LayerNorm(hiddenSize, { eps, dtype })
  const layer = (_: unknown, index: number) =>
    new DecoderLayer(
      {
        attention: attentionOf(config, index, dtype),
        mlp: mlpOf(config, dtype),
        attentionNorm: norm(),
      },
      { type: 'PhiDecoderLayer', parts: { attention: 'self_attn', attentionNorm: 'input_layernorm' } },
      { form: 'parallel' },
    )
  return new Decoder(
    {
      embedding: new Embedding(config.vocabularySize, hiddenSize, { dtype }),
      layers: Array.from({ length: config.layers }, layer),
      rotary: new RotaryEmbedding(config.rope, 'PhiRotaryEmbedding'),
      norm: norm(),
    },
    {
      type: 'PhiModel',
      parts: { embedding: 'embed_tokens', rotary: 'rotary_emb', norm: 'final_layernorm' },
    },
  )
}

function attentionOf(config: PhiConfig, layer: number, dtype: FloatDType): Attention {
  const { hiddenSize, heads, keyValueHeads, headSize, headNorms, normEpsilon: eps } = config
  const projection = (count: number) => new Linear(hiddenSize, count * headSize, { dtype })
  const norm = () => new LayerNorm(headSize, { eps, dtype })
  return new Attention(
    {
      q: projection(heads),
      k: projection(keyValueHeads),
      v: projection(keyValueHeads),
      output: new Linear(heads * headSize, hiddenSize, { dtype }),
      ...(headNorms && { qNorm: norm(), kNorm: norm() }),
    },
    { layer, heads, keyValueHeads, headSize },
    {
      type: 'PhiAttention',
      parts: {
        q: 'q_proj',
        k: 'k_proj',
        v: 'v_proj',
        output: 'dense',
        qNorm: 'q_layernorm',
        kNorm: 'k_layernorm',
      },
    },
  )
}

function mlpOf({ hiddenSize, intermediateSize, activation }: PhiConfig, dtype: FloatDType): MLP {
  return new MLP(
    {
      up: new Linear(hiddenSize, intermediateSize, { dtype }),
      down: new Linear(intermediateSize, hiddenSize, { dtype }),
    },
    activations[activation],
    { type: 'PhiMLP', parts: { up: 'fc1', down: 'fc2' } },
  )
}

/** @throws FormatError if llama.cpp has no such model */
function keys(config: PhiConfig): Record<string, number> {
  checkGguf('Phi', {
    'have no norms of queries and keys': !config.headNorms,
    'have a gelu as hidden_act': isGelu(config.activation),
  })
  return {
    context_length: config.maxPositions,
    embedding_length: config.hiddenSize,
    feed_forward_length: config.intermediateSize,
    block_count: config.layers,
    'attention.head_count': config.heads,
    'attention.head_count_kv': config.keyValueHeads,
    'attention.layer_norm_epsilon': config.normEpsilon,
    'rope.dimension_count': config.rope.size,
    'rope.freq_base': config.rope.theta,
    vocab_size: config.vocabularySize,
  }
}

export const phi: Family<PhiConfig> = {
  architectures: ['PhiForCausalLM'],
  modelTypes: ['phi'],
  parse: parsePhiConfig,
  build: (config) => new PhiForCausalLM(config),
  names: { extras: /\.rotary_emb\.inv_freq$/ },
  gguf: {
    architecture: 'phi2',
    fields: {
      hidden_size: 'embedding_length',
      intermediate_size: 'feed_forward_length',
      num_hidden_layers: 'block_count',
      num_attention_heads: 'attention.head_count',
      max_position_embeddings: 'context_length',
      layer_norm_eps: 'attention.layer_norm_epsilon',
    },
    optionalFields: {
      num_key_value_heads: 'attention.head_count_kv',
      rope_theta: 'rope.freq_base',
      vocab_size: 'vocab_size',
    },
    otherFields: () => ({ hidden_act: 'gelu_new' }),
    keys,
    rope: ({ rope }) => rope,
    partialRotary: true,
    modules: {
      token_embd: 'model.embed_tokens',
      output_norm: 'model.final_layernorm',
      output: 'lm_head',
      'blk.N.attn_norm': 'model.layers.N.input_layernorm',
      'blk.N.attn_q': 'model.layers.N.self_attn.q_proj',
      'blk.N.attn_k': 'model.layers.N.self_attn.k_proj',
      'blk.N.attn_v': 'model.layers.N.self_attn.v_proj',
      'blk.N.attn_output': 'model.layers.N.self_attn.dense',
      'blk.N.ffn_up': 'model.layers.N.mlp.fc1',
      'blk.N.ffn_down': 'model.layers.N.mlp.fc2',
    },
  },
}
