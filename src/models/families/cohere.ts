import type { FloatDType } from '../../core/dtype.ts'
import type { Device } from '../../devices/device.ts'
import type { JsonObject } from '../../formats/json.ts'
import { Module } from '../../nn/module.ts'
import { constant } from '../../nn/rmsNorm.ts'
import { cast, layerNorm, mul } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { positiveField, type Warn } from './fields.ts'
import { checkGguf } from './ggufKeys.ts'
import {
  headNormModules,
  type LlamaLikeConfig,
  type LlamaLikeDefaults,
  layerNormGguf,
  llamaLikeNames,
  parseLlamaLike,
} from './llamaLike.ts'
import { type LlamaLikeForm, llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * Cohere's Command R: attention and MLP take one layer norm of x side by side; pairs of neighbours are turned;
 * logits are multiplied. Command R+ normalizes queries and keys, each head with weights of its own.
 * Source: transformers, modeling_cohere.py.
 */

/** What the config.json of Command R says, in this library's names. */
export interface CohereConfig extends LlamaLikeConfig {
  /** Whether queries and keys are normalized. */
  headNorms: boolean
}

/** Command R with its language-model head: token ids → logits. */
export class CohereForCausalLM extends DecoderLM<CohereConfig> {
  constructor(config: CohereConfig, dtype: FloatDType = 'float32') {
    const headNorms: LlamaLikeForm<CohereConfig>['headNorms'] = {
      names: ['q_norm', 'k_norm'],
      norm: ({ headSize, normEpsilon }, heads, dtype) =>
        config.headNorms ? new CohereLayerNorm([heads, headSize], normEpsilon, dtype) : undefined,
    }
    super(config, dtype, llamaLikeDecoder('Cohere', { ...cohereForm, headNorms }), 'model', config)
  }
}

/** One norm, of which attention and MLP take the same. */
export const cohereForm: LlamaLikeForm = {
  norm: ({ normEpsilon }, size, dtype) => new CohereLayerNorm([size], normEpsilon, dtype),
  norms: () => ({ attentionNorm: 'input_layernorm' }),
  form: () => 'parallel',
}

/** y = (x − mean) / √(variance + ε) · weight over the last dimension, whose weights each head may have. */
export class CohereLayerNorm extends Module {
  static readonly typeName: string = 'CohereLayerNorm'
  readonly eps: number
  /** [size], or [heads, size] */
  weight: Tensor

  constructor(shape: readonly [number] | readonly [number, number], eps: number, dtype: FloatDType) {
    super()
    this.eps = eps
    this.weight = Tensor.meta(shape, dtype)
  }

  /** Weights of 1. */
  override resetParameters(device: Device): void {
    this.weight = constant(device, this.weight, 1)
  }

  /** x [..., size] or [..., heads, size] float32 → the same shape. */
  forward(x: Tensor): Tensor {
    return scope(() => {
      const weight = cast(this.weight, 'float32')
      if (weight.shape.length === 1) return layerNorm(x, weight, null, this.eps)
      return mul(layerNorm(x, null, null, this.eps), weight)
    })
  }
}

/** The config of Command R from its config.json; see `Family.parse`. */
export function parseCohereConfig(json: JsonObject, warn: Warn = () => {}): CohereConfig {
  const config = parseCohereLike(json, warn, { rope: { theta: 500_000 } })
  return { ...config, headNorms: json.boolean('use_qk_norm', false) }
}

/** What is the same in Command R and Command R7B. */
export function parseCohereLike(
  json: JsonObject,
  warn: Warn,
  { rope, window }: Pick<LlamaLikeDefaults, 'rope' | 'window'>,
): LlamaLikeConfig {
  const bias = json.boolean('attention_bias', false)
  const config = parseLlamaLike(json, warn, {
    maxPositions: 8192,
    epsilon: ['layer_norm_eps', 1e-5],
    rope: { ...rope, interleaved: true },
    tieWordEmbeddings: true,
    biases: { qkv: bias, output: bias, mlp: false },
    window,
  })
  return { ...config, logitScale: positiveField(json, 'logit_scale', 0.0625) }
}

const { 'blk.N.ffn_norm': _, ...modules } = layerNormGguf.modules
/** Modules of Command R by their names in GGUF files. */
export const cohereModules = modules

export const cohere: Family<CohereConfig> = {
  architectures: ['CohereForCausalLM'],
  modelTypes: ['cohere'],
  parse: parseCohereConfig,
  build: (config) => new CohereForCausalLM(config),
  names: llamaLikeNames,
  gguf: {
    ...layerNormGguf,
    architecture: 'command-r',
    fields: { ...layerNormGguf.fields, logit_scale: 'logit_scale' },
    otherFields: (has) => ({
      attention_bias: has('blk.0.attn_q.bias'),
      use_qk_norm: has('blk.0.attn_q_norm.weight'),
    }),
    keys(config) {
      checkGguf('Command R', { 'share the weight of embedding and head': config.tieWordEmbeddings })
      return { ...layerNormGguf.keys(config), logit_scale: config.logitScale ?? 1 }
    },
    modules: { ...cohereModules, ...headNormModules },
  },
}
