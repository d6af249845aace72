import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { type ActivationName, activations } from '../../nn/activations.ts'
import { Attention } from '../../nn/attention.ts'
import { DecoderLayer } from '../../nn/decoderLayer.ts'
import { Embedding } from '../../nn/embedding.ts'
import { Linear } from '../../nn/linear.ts'
import { MLP } from '../../nn/mlp.ts'
import { LayerNorm } from '../../nn/normalization.ts'
import { RotaryEmbedding } from '../../nn/rotary.ts'
import type { CausalLMConfig } from '../causalLM.ts'
import { Decoder } from '../decoder.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import {
  activationField,
  headSizeOf,
  isNull,
  positiveField,
  sizeField,
  tokenIdsField,
  type Warn,
} from './fields.ts'

/*
 * GPT-J: attention and MLP beside each other on one norm, the first values of each head turned in pairs of
 * neighbours, and a head with a bias.
 * Source: Wang, Komatsuzaki, "GPT-J-6B", 2021; transformers, modeling_gptj.py.
 */

/** What a GPT-J checkpoint's config.json says, in this library's names. */
export interface GptjConfig extends CausalLMConfig {
  intermediateSize: number
  normEpsilon: number
  activation: ActivationName
  /** Values of a head that are turned. */
  rotarySize: number
}

/** The config of GPT-J from its config.json; see `Family.parse`. */
export function parseGptjConfig(json: JsonObject, warn: Warn = () => {}): GptjConfig {
  const hiddenSize = sizeField(json, 'n_embd')
  const heads = sizeField(json, 'n_head')
  const headSize = headSizeOf(json, 'n_head', hiddenSize, heads)
  // Where the field is absent it is 64 in transformers; null is no size there either.
  if (isNull(json, 'rotary_dim')) throw json.error('rotary_dim', 'must be a positive integer')
  const rotarySize = sizeField(json, 'rotary_dim', 64)
  if (rotarySize % 2 !== 0 || rotarySize > headSize)
    throw json.error('rotary_dim', `must be even, and at most the head size (${headSize})`)
  const vocabularySize = sizeField(json, 'vocab_size')
  return {
    hiddenSize,
    intermediateSize: sizeField(json, 'n_inner', 4 * hiddenSize),
    layers: sizeField(json, 'n_layer'),
    heads,
    keyValueHeads: heads,
    headSize,
    vocabularySize,
    maxPositions: sizeField(json, 'n_positions', 2048),
    normEpsilon: positiveField(json, 'layer_norm_epsilon', 1e-5),
    activation: activationField(json, 'activation_function', 'gelu_new'),
    rotarySize,
    tieWordEmbeddings: json.boolean('tie_word_embeddings', false),
    eosTokenIds: tokenIdsField(json, 'eos_token_id', vocabularySize, warn),
  }
}

/** GPT-J with its language-model head: token ids → logits. */
export class GPTJForCausalLM extends DecoderLM<GptjConfig> {
  constructor(config: GptjConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, decoderOf, 'transformer', { headBias: true })
  }
}

function decoderOf(config: GptjConfig, dtype: FloatDType): Decoder {
  const { hiddenSize, rotarySize: size, normEpsilon: eps } = config
  const norm = () => new LayerNorm(hiddenSize, { eps, dtype })
  const layer = (_: unknown, index: number) =>
    new DecoderLayer(
      {
        attentionNorm: norm(),
        attention: attentionOf(config, index, dtype),
        mlp: mlpOf(config, dtype),
      },
      { type: 'GPTJBlock', parts: { attentionNorm: 'ln_1', attention: 'attn' } },
      { form: 'parallel' },
    )
  return new Decoder(
    {
      embedding: new Embedding(config.vocabularySize, hiddenSize, { dtype }),
      layers: Array.from({ length: config.layers }, layer),
      norm: norm(),
      rotary: new RotaryEmbedding({ size, theta: 10000, scaling: { type: 'default' }, interleaved: true }),
    },
    { type: 'GPTJModel', parts: { embedding: 'wte', layers: 'h', norm: 'ln_f' } },
  )
}

function attentionOf(config: GptjConfig, layer: number, dtype: FloatDType): Attention {
  const { hiddenSize, heads, headSize } = config
  const projection = () => new Linear(hiddenSize, hiddenSize, { bias: false, dtype })
  return new Attention(
    { k: projection(), v: projection(), q: projection(), output: projection() },
    { layer, heads, keyValueHeads: heads, headSize },
    { type: 'GPTJAttention', parts: { q: 'q_proj', k: 'k_proj', v: 'v_proj', output: 'out_proj' } },
  )
}

function mlpOf({ hiddenSize, intermediateSize, activation }: GptjConfig, dtype: FloatDType): MLP {
  return new MLP(
    {
      up: new Linear(hiddenSize, intermediateSize, { dtype }),
      down: new Linear(intermediateSize, hiddenSize, { dtype }),
    },
    activations[activation],
    { type: 'GPTJMLP', parts: { up: 'fc_in', down: 'fc_out' } },
  )
}

export const gptj: Family<GptjConfig> = {
  architectures: ['GPTJForCausalLM'],
  modelTypes: ['gptj'],
  parse: parseGptjConfig,
  build: (config) => new GPTJForCausalLM(config),
  names: {
    aliases: (path) => [path.replace(/^transformer\./, '')],
    // Masks and tables, which older checkpoints carry.
    extras: /\.attn\.((masked_)?bias|embed_positions)$/,
  },
}
