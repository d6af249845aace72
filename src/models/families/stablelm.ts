import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { Module } from '../../nn/module.ts'
import { LayerNorm } from '../../nn/normalization.ts'
import { concat, split } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import type { Warn } from './fields.ts'
import { checkGguf } from './ggufKeys.ts'
import { type LlamaLikeConfig, layerNormGguf, llamaLikeNames, parseLlamaLike } from './llamaLike.ts'
import { type LlamaLikeForm, llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * StableLM: Llama with layer norms, which turns a part of each head only. StableLM 2 12B normalizes queries
 * and keys, each head with a norm of its own, and has attention and MLP side by side.
 * Source: Bellagente et al., "Stable LM 2 1.6B Technical Report", 2024; transformers, modeling_stablelm.py.
 */

/** What the config.json of StableLM says, in this library's names. */
export interface StableLmConfig extends LlamaLikeConfig {
  headNorms: boolean
  parallel: boolean
}

/** StableLM with its language-model head: token ids → logits. */
export class StableLmForCausalLM extends DecoderLM<StableLmConfig> {
  constructor(config: StableLmConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('StableLm', form), 'model')
  }
}

const form: LlamaLikeForm<StableLmConfig> = {
  norm: ({ normEpsilon: eps }, size, dtype) => new LayerNorm(size, { eps, dtype }),
  norms: ({ parallel }) => ({
    attentionNorm: 'input_layernorm',
    ...(!parallel && { mlpNorm: 'post_attention_layernorm' }),
  }),
  form: ({ parallel }) => (parallel ? 'parallel' : 'preNorm'),
  headNorms: {
    names: ['q_layernorm', 'k_layernorm'],
    norm: (config, heads, dtype) => (config.headNorms ? new NormPerHead(config, heads, dtype) : undefined),
  },
}

/** A layer norm for each head. */
class NormPerHead extends Module {
  static readonly typeName: string = 'StableLmLayerNormPerHead'
  readonly norms: LayerNorm[]

  constructor({ headSize, normEpsilon: eps }: StableLmConfig, heads: number, dtype: FloatDType) {
    super()
    this.norms = Array.from({ length: heads }, () => new LayerNorm(headSize, { eps, bias: false, dtype }))
  }

  /** x [B, T, heads, headSize] float32 → the same shape. */
  forward(x: Tensor): Tensor {
    const ones = this.norms.map(() => 1)
    return scope(() =>
      concat(
        split(x, ones, 2).map((head, i) => this.norms[i].forward(head)),
        2,
      ),
    )
  }
}

/** The config of StableLM from its config.json; see `Family.parse`. */
export function parseStableLmConfig(json: JsonObject, warn: Warn = () => {}): StableLmConfig {
  const config = parseLlamaLike(json, warn, {
    keyValueHeads: 32,
    maxPositions: 4096,
    epsilon: ['layer_norm_eps', 1e-5],
    rope: { partial: true, factor: 0.25 },
    biases: { qkv: json.boolean('use_qkv_bias', false), output: false, mlp: false },
  })
  return {
    ...config,
    headNorms: json.boolean('qk_layernorm', false),
    parallel: json.boolean('use_parallel_residual', false),
  }
}

export const stablelm: Family<StableLmConfig> = {
  architectures: ['StableLmForCausalLM'],
  modelTypes: ['stablelm'],
  parse: parseStableLmConfig,
  build: (config) => new StableLmForCausalLM(config),
  names: llamaLikeNames,
  gguf: {
    ...layerNormGguf,
    architecture: 'stablelm',
    otherFields: (has, value) => ({
      use_qkv_bias: has('blk.0.attn_q.bias'),
      use_parallel_residual: value('use_parallel_residual') ?? !has('blk.0.ffn_norm.weight'),
      qk_layernorm: has('blk.0.attn_q_norm.weight'),
    }),
    keys(config) {
      checkGguf('StableLM', {
        'have a head of its own': !config.tieWordEmbeddings,
      })
      return { ...layerNormGguf.keys(config), use_parallel_residual: config.parallel }
    },
    partialRotary: true,
    modules: {
      ...layerNormGguf.modules,
      'blk.N.attn_q_norm': 'model.layers.N.self_attn.q_layernorm.norms.E',
      'blk.N.attn_k_norm': 'model.layers.N.self_attn.k_layernorm.norms.E',
    },
  },
}
