import type { FloatDType } from '../../core/dtype.ts'
import { FormatError } from '../../core/errors.ts'
import type { JsonObject } from '../../formats/json.ts'
import { type ActivationName, activations } from '../../nn/activations.ts'
import { Attention } from '../../nn/attention.ts'
import { DecoderLayer } from '../../nn/decoderLayer.ts'
import { Embedding } from '../../nn/embedding.ts'
import { Conv1D } from '../../nn/gptConv1D.ts'
import { MLP } from '../../nn/mlp.ts'
import { LayerNorm } from '../../nn/normalization.ts'
import type { CausalLMConfig } from '../causalLM.ts'
import { Decoder } from '../decoder.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { activationField, positiveField, sizeField, tokenIdsField, type Warn } from './fields.ts'

/*
 * Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019; transformers,
 * modeling_gpt2.py.
 */

/** What a GPT-2 checkpoint's config.json says, in this library's names. */
export interface Gpt2Config extends CausalLMConfig {
  intermediateSize: number
  normEpsilon: number
  activation: ActivationName
  /** Whether attention in layer i is scaled by 1 / (i + 1), too. */
  scaleByLayer: boolean
}

/** The config of GPT-2 from its config.json; see `Family.parse`. */
export function parseGpt2Config(json: JsonObject, warn: Warn = () => {}): Gpt2Config {
  const hiddenSize = sizeField(json, 'n_embd')
  const heads = sizeField(json, 'n_head')
  if (hiddenSize % heads !== 0) throw json.error('n_head', `must divide n_embd (${hiddenSize})`)
  if (json.boolean('add_cross_attention', false)) throw json.error('add_cross_attention', 'must be false')
  if (!json.boolean('scale_attn_weights', true)) throw json.error('scale_attn_weights', 'must be true')
  const vocabularySize = sizeField(json, 'vocab_size')
  return {
    hiddenSize,
    intermediateSize: sizeField(json, 'n_inner', 4 * hiddenSize),
    layers: sizeField(json, 'n_layer'),
    heads,
    keyValueHeads: heads,
    headSize: hiddenSize / heads,
    vocabularySize,
    maxPositions: sizeField(json, 'n_positions', 1024),
    normEpsilon: positiveField(json, 'layer_norm_epsilon', 1e-5),
    activation: activationField(json, 'activation_function', 'gelu_new'),
    scaleByLayer: json.boolean('scale_attn_by_inverse_layer_idx', false),
    tieWordEmbeddings: json.boolean('tie_word_embeddings', true),
    eosTokenIds: tokenIdsField(json, 'eos_token_id', vocabularySize, warn),
  }
}

/** GPT-2 with its language-model head: token ids → logits. */
export class GPT2LMHeadModel extends DecoderLM<Gpt2Config> {
  constructor(config: Gpt2Config, dtype: FloatDType = 'float32') {
    super(config, dtype, decoderOf, 'transformer')
  }
}

function decoderOf(config: Gpt2Config, dtype: FloatDType): Decoder {
  const { hiddenSize, normEpsilon: eps } = config
  const norm = () => new LayerNorm(hiddenSize, { eps, dtype })
  const layer = (_: unknown, index: number) =>
    new DecoderLayer(
      {
        attentionNorm: norm(),
        attention: attentionOf(config, index, dtype),
        mlpNorm: norm(),
        mlp: mlpOf(config, dtype),
      },
      { type: 'GPT2Block', parts: { attentionNorm: 'ln_1', attention: 'attn', mlpNorm: 'ln_2' } },
    )
  return new Decoder(
    {
      embedding: new Embedding(config.vocabularySize, hiddenSize, { dtype }),
      positions: new Embedding(config.maxPositions, hiddenSize, { dtype }),
      layers: Array.from({ length: config.layers }, layer),
      norm: norm(),
    },
    { type: 'GPT2Model', parts: { embedding: 'wte', positions: 'wpe', layers: 'h', norm: 'ln_f' } },
  )
}

function attentionOf(config: Gpt2Config, layer: number, dtype: FloatDType): Attention {
  const { hiddenSize, heads, headSize, scaleByLayer } = config
  return new Attention(
    {
      qkv: new Conv1D(3 * hiddenSize, hiddenSize, { dtype }),
      output: new Conv1D(hiddenSize, hiddenSize, { dtype }),
    },
    {
      layer,
      heads,
      keyValueHeads: heads,
      headSize,
      scale: 1 / Math.sqrt(headSize) / (scaleByLayer ? layer + 1 : 1),
    },
    { type: 'GPT2Attention', parts: { qkv: 'c_attn', output: 'c_proj' } },
  )
}

function mlpOf({ hiddenSize, intermediateSize, activation }: Gpt2Config, dtype: FloatDType): MLP {
  return new MLP(
    {
      up: new Conv1D(intermediateSize, hiddenSize, { dtype }),
      down: new Conv1D(hiddenSize, intermediateSize, { dtype }),
    },
    activations[activation],
    { type: 'GPT2MLP', parts: { up: 'c_fc', down: 'c_proj' } },
  )
}

/** @throws FormatError if llama.cpp computes it otherwise */
function keys(config: Gpt2Config): Record<string, number> {
  const { activation, scaleByLayer } = config
  if (scaleByLayer || activations[activation] !== activations.gelu_new)
    throw new FormatError(
      `gguf: a GPT-2 must have activation_function gelu_new and scale_attn_by_inverse_layer_idx false; it has ${activation} and ${scaleByLayer}`,
    )
  return {
    context_length: config.maxPositions,
    embedding_length: config.hiddenSize,
    block_count: config.layers,
    feed_forward_length: config.intermediateSize,
    'attention.head_count': config.heads,
    'attention.layer_norm_epsilon': config.normEpsilon,
    vocab_size: config.vocabularySize,
  }
}

export const gpt2: Family<Gpt2Config> = {
  architectures: ['GPT2LMHeadModel'],
  modelTypes: ['gpt2'],
  parse: parseGpt2Config,
  build: (config) => new GPT2LMHeadModel(config),
  names: {
    // OpenAI's own checkpoints hold the transformer alone.
    aliases: (path) => [path.replace(/^transformer\./, '')],
    // The causal mask, which old checkpoints carry.
    extras: /\.attn\.(masked_)?bias$/,
  },
  gguf: {
    architecture: 'gpt2',
    fields: {
      n_embd: 'embedding_length',
      n_inner: 'feed_forward_length',
      n_layer: 'block_count',
      n_head: 'attention.head_count',
      n_positions: 'context_length',
      layer_norm_epsilon: 'attention.layer_norm_epsilon',
    },
    optionalFields: { vocab_size: 'vocab_size' },
    keys,
    modules: {
      token_embd: 'transformer.wte',
      position_embd: 'transformer.wpe',
      output_norm: 'transformer.ln_f',
      output: 'lm_head',
      'blk.N.attn_norm': 'transformer.h.N.ln_1',
      'blk.N.attn_qkv': 'transformer.h.N.attn.c_attn',
      'blk.N.attn_output': 'transformer.h.N.attn.c_proj',
      'blk.N.ffn_norm': 'transformer.h.N.ln_2',
      'blk.N.ffn_up': 'transformer.h.N.mlp.c_fc',
      'blk.N.ffn_down': 'transformer.h.N.mlp.c_proj',
    },
    turned: ['c_attn', 'c_proj', 'c_fc'],
  },
}
