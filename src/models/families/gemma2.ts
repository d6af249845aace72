import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { positiveField, sizeField, type Warn } from './fields.ts'
import { gemmaNorm, parseGemmaLike } from './gemma.ts'
import { isNull, type LlamaLikeConfig, layerWindow, llamaLikeNames } from './llamaLike.ts'
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

export const gemma2: Family<LlamaLikeConfig> = {
  architectures: ['Gemma2ForCausalLM'],
  modelTypes: ['gemma2'],
  parse: parseGemma2Config,
  build: (config) => new Gemma2ForCausalLM(config),
  names: llamaLikeNames,
}
