import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import type { ActivationName } from '../../nn/activations.ts'
import { Attention } from '../../nn/attention.ts'
import { DecoderLayer } from '../../nn/decoderLayer.ts'
import { Embedding } from '../../nn/embedding.ts'
import { Linear } from '../../nn/linear.ts'
import { LayerNorm } from '../../nn/normalization.ts'
import type { CausalLMConfig } from '../causalLM.ts'
import { Decoder } from '../decoder.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { activationField, headSizeOf, sizeField, tokenIdsField, type Warn } from './fields.ts'

/*
 * OPT: learned positions, whose table begins two rows later; OPT-350m has its norms after each part, none at
 * the end, and embeddings of another size than its layers.
 * Source: Zhang et al., "OPT: Open Pre-trained Transformer Language Models", 2022; transformers,
 * modeling_opt.py.
 */

/** What an OPT checkpoint's config.json says, in this library's names. */
export interface OptConfig extends CausalLMConfig {
  intermediateSize: number
  activation: ActivationName
  /** Of the embedding; what differs from `hiddenSize` is projected to it and back. */
  embeddingSize: number
  /** Whether norms stand before each part, instead of after its sum. */
  normBefore: boolean
  /** Whether there is a norm after the last layer. */
  finalNorm: boolean
  /** Whether layers have biases. */
  bias: boolean
  /** Whether norms have weights. */
  affineNorms: boolean
}

/** Rows of the table of positions before that of the first. */
const positionOffset = 2

/** The config of OPT from its config.json; see `Family.parse`. */
export function parseOptConfig(json: JsonObject, warn: Warn = () => {}): OptConfig {
  const hiddenSize = sizeField(json, 'hidden_size')
  const heads = sizeField(json, 'num_attention_heads')
  const vocabularySize = sizeField(json, 'vocab_size')
  const normBefore = json.boolean('do_layer_norm_before', true)
  return {
    hiddenSize,
    intermediateSize: sizeField(json, 'ffn_dim'),
    layers: sizeField(json, 'num_hidden_layers'),
    heads,
    keyValueHeads: heads,
    headSize: headSizeOf(json, 'num_attention_heads', hiddenSize, heads),
    vocabularySize,
    maxPositions: sizeField(json, 'max_position_embeddings', 2048),
    activation: activationField(json, 'activation_function', 'relu'),
    embeddingSize: sizeField(json, 'word_embed_proj_dim', hiddenSize),
    normBefore,
    finalNorm: normBefore && !json.boolean('_remove_final_layer_norm', false),
    bias: json.boolean('enable_bias', true),
    affineNorms: json.boolean('layer_norm_elementwise_affine', true),
    tieWordEmbeddings: json.boolean('tie_word_embeddings', true),
    eosTokenIds: tokenIdsField(json, 'eos_token_id', vocabularySize, warn),
  }
}

/** OPT with its language-model head: token ids → logits. */
export class OPTForCausalLM extends DecoderLM<OptConfig> {
  constructor(config: OptConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, decoderOf, 'model.decoder')
  }
}

const layerNames = {
  attention: 'self_attn',
  attentionNorm: 'self_attn_layer_norm',
  up: 'fc1',
  down: 'fc2',
  mlpNorm: 'final_layer_norm',
}

function decoderOf(config: OptConfig, dtype: FloatDType): Decoder {
  const { hiddenSize, embeddingSize, vocabularySize, maxPositions, affineNorms } = config
  const norm = () => new LayerNorm(hiddenSize, { elementwiseAffine: affineNorms, dtype })
  const projection = (inputs: number, outputs: number) => new Linear(inputs, outputs, { bias: false, dtype })
  const isProjected = embeddingSize !== hiddenSize
  const layer = (_: unknown, index: number) =>
    new DecoderLayer(
      {
        attention: attentionOf(config, index, dtype),
        attentionNorm: norm(),
        up: new Linear(hiddenSize, config.intermediateSize, { bias: config.bias, dtype }),
        down: new Linear(config.intermediateSize, hiddenSize, { bias: config.bias, dtype }),
        mlpNorm: norm(),
      },
      { type: 'OPTDecoderLayer', parts: layerNames },
      { form: config.normBefore ? 'preNorm' : 'postNorm', activation: config.activation },
    )
  return new Decoder(
    {
      embedding: new Embedding(vocabularySize, embeddingSize, { dtype }),
      positions: new Embedding(maxPositions + positionOffset, hiddenSize, { dtype }),
      ...(isProjected && {
        outputProjection: projection(hiddenSize, embeddingSize),
        inputProjection: projection(embeddingSize, hiddenSize),
      }),
      ...(config.finalNorm && { norm: norm() }),
      layers: Array.from({ length: config.layers }, layer),
    },
    {
      type: 'OPTDecoder',
      parts: {
        embedding: 'embed_tokens',
        positions: 'embed_positions',
        outputProjection: 'project_out',
        inputProjection: 'project_in',
        norm: 'final_layer_norm',
      },
    },
    { positionOffset },
  )
}

function attentionOf(config: OptConfig, layer: number, dtype: FloatDType): Attention {
  const { hiddenSize, heads, headSize, bias } = config
  const projection = () => new Linear(hiddenSize, hiddenSize, { bias, dtype })
  return new Attention(
    { k: projection(), v: projection(), q: projection(), output: projection() },
    { layer, heads, keyValueHeads: heads, headSize },
    { type: 'OPTAttention', parts: { q: 'q_proj', k: 'k_proj', v: 'v_proj', output: 'out_proj' } },
  )
}

export const opt: Family<OptConfig> = {
  architectures: ['OPTForCausalLM'],
  modelTypes: ['opt'],
  parse: parseOptConfig,
  build: (config) => new OPTForCausalLM(config),
  names: {
    // Metaseq's checkpoints hold the decoder alone.
    aliases: (path) => [path.replace(/^model\./, '')],
  },
}
