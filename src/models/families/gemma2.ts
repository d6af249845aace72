import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { isNull, positiveField, sizeField, type Warn } from './fields.ts'
import { checkGemma, gemmaNorm, parseGemmaLike } from './gemma.ts'
import { checkGguf, layerTypes, windowKeys } from './ggufKeys.ts'
import { type LlamaLikeConfig, layerWindow, llamaLikeGguf, llamaLikeNames } from './llamaLike.ts'
import { type LlamaLikeForm, llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * Gemma 2: Gemma with norms before and after attention and MLP, bounded scores and logits, and a window in
 * every other layer.
 * Source: Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size", 2024; transformers,
 * modeling_gemma2.py.
 */

/** Gemma 2 with its language-model head: token ids → logits. */
export class Gemma2ForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Gemma2', gemma2Form), 'model', config)
  }
}

/** Gemma's norms, before and after attention and MLP. */
export const gemma2Form: LlamaLikeForm = {
  norm: gemmaNorm,
  norms: () => ({
    attentionNorm: 'input_layernorm',
    attentionOutputNorm: 'post_attention_layernorm',
    mlpNorm: 'pre_feedforward_layernorm',
    mlpOutputNorm: 'post_feedforward_layernorm',
  }),
}

/** The config of Gemma 2 from its config.json; see `Family.parse`. */
export function parseGemma2Config(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  const window = isNull(json, 'sliding_window') ? null : sizeField(json, 'sliding_window', 4096)
  const config = parseGemmaLike(json, warn, {
    keyValueHeads: 4,
    window: layerWindow(json, window, (layer) => layer % 2 === 0),
  })
  return {
    ...config,
    attentionScale: positiveField(json, 'query_pre_attn_scalar', 256) ** -0.5,
    attentionSoftcap: softcapField(json, 'attn_logit_softcapping', 50),
    finalSoftcap: softcapField(json, 'final_logit_softcapping', 30),
  }
}

/** A bound, or none where the field is null. */
export function softcapField(json: JsonObject, key: string, fallback?: number): number | undefined {
  if (isNull(json, key) || (fallback === undefined && !json.has(key))) return undefined
  return positiveField(json, key, fallback)
}

/**
 * The `query_pre_attn_scalar` that llama.cpp takes, which files do not state: the size of a head, but for one
 * model, known by its layers, the hidden size over the heads.
 */
export function ggufHeadScale(value: (key: string) => unknown, layersOfLargest: number): number {
  const perHead = Math.trunc(Number(value('embedding_length')) / Number(value('attention.head_count')))
  const isLargest = value('block_count') === layersOfLargest
  return isLargest ? perHead : Number(value('attention.key_length') ?? perHead)
}

/** Whether scores are scaled as llama.cpp does. */
export function hasUsualScale(config: LlamaLikeConfig, layersOfLargest: number): boolean {
  const { layers, hiddenSize, heads, headSize, attentionScale = 1 } = config
  const usual = layers === layersOfLargest ? Math.trunc(hiddenSize / heads) : headSize
  return Math.abs(attentionScale ** 2 * usual - 1) < 1e-6
}

/** Modules of Gemma 2 by their names in GGUF files. */
export const gemma2Modules = {
  ...llamaLikeGguf.modules,
  'blk.N.post_attention_norm': 'model.layers.N.post_attention_layernorm',
  'blk.N.ffn_norm': 'model.layers.N.pre_feedforward_layernorm',
  'blk.N.post_ffw_norm': 'model.layers.N.post_feedforward_layernorm',
} as const

/** Its norms, which multiply by 1 + weight. */
export const gemma2Norms = [
  'input_layernorm',
  'post_attention_layernorm',
  'pre_feedforward_layernorm',
  'post_feedforward_layernorm',
  'norm',
] as const

export const gemma2: Family<LlamaLikeConfig> = {
  architectures: ['Gemma2ForCausalLM'],
  modelTypes: ['gemma2'],
  parse: parseGemma2Config,
  build: (config) => new Gemma2ForCausalLM(config),
  names: llamaLikeNames,
  gguf: {
    ...llamaLikeGguf,
    architecture: 'gemma2',
    optionalFields: {
      ...llamaLikeGguf.optionalFields,
      sliding_window: 'attention.sliding_window',
      attn_logit_softcapping: 'attn_logit_softcapping',
      final_logit_softcapping: 'final_logit_softcapping',
    },
    otherFields: (_has, value) => ({
      layer_types: layerTypes(value, 2),
      query_pre_attn_scalar: ggufHeadScale(value, 46),
    }),
    keys(config) {
      const { attentionSoftcap, finalSoftcap } = config
      checkGemma('Gemma 2', config)
      checkGguf('Gemma 2', {
        'bound scores and logits': attentionSoftcap !== undefined && finalSoftcap !== undefined,
        'scale scores by the size of its heads': hasUsualScale(config, 46),
      })
      return {
        ...llamaLikeGguf.keys(config),
        ...windowKeys('Gemma 2', config, 2),
        attn_logit_softcapping: attentionSoftcap as number,
        final_logit_softcapping: finalSoftcap as number,
      }
    },
    modules: gemma2Modules,
    unitOffset: gemma2Norms,
  },
}
