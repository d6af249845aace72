import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { positiveField, type Warn } from './fields.ts'
import { type LlamaLikeConfig, llamaLikeGguf, llamaLikeNames, parseLlamaLike } from './llamaLike.ts'
import { llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * Granite: Llama with multipliers of the embedding, of the scores of attention, of what attention and MLP
 * give, and a divisor of the logits.
 * Source: Granite Team, "Granite 3.0 Language Models", 2024; transformers, modeling_granite.py.
 */

/** Granite with its language-model head: token ids → logits. */
export class GraniteForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Granite'), 'model', config)
  }
}

/** The config of Granite from its config.json; see `Family.parse`. */
export function parseGraniteConfig(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  const attention = json.boolean('attention_bias', false)
  const config = parseLlamaLike(json, warn, {
    maxPositions: 2048,
    biases: { qkv: attention, output: attention, mlp: json.boolean('mlp_bias', false) },
  })
  return {
    ...config,
    embeddingScale: positiveField(json, 'embedding_multiplier', 1),
    attentionScale: positiveField(json, 'attention_multiplier', 1),
    residualMultiplier: positiveField(json, 'residual_multiplier', 1),
    logitScale: 1 / positiveField(json, 'logits_scaling', 1),
  }
}

/** What llama.cpp multiplies q · k by where a file does not say. */
function usualScale(value: (key: string) => unknown): number {
  return Math.sqrt(Number(value('attention.head_count')) / Number(value('embedding_length')))
}

export const granite: Family<LlamaLikeConfig> = {
  architectures: ['GraniteForCausalLM'],
  modelTypes: ['granite'],
  parse: parseGraniteConfig,
  build: (config) => new GraniteForCausalLM(config),
  names: llamaLikeNames,
  gguf: {
    ...llamaLikeGguf,
    architecture: 'granite',
    optionalFields: {
      ...llamaLikeGguf.optionalFields,
      attention_multiplier: 'attention.scale',
      embedding_multiplier: 'embedding_scale',
      residual_multiplier: 'residual_scale',
      logits_scaling: 'logit_scale',
    },
    otherFields: (has, value) => ({
      attention_bias: has('blk.0.attn_q.bias'),
      mlp_bias: has('blk.0.ffn_gate.bias'),
      ...(value('attention.scale') === undefined && { attention_multiplier: usualScale(value) }),
    }),
    keys: (config) => ({
      ...llamaLikeGguf.keys(config),
      'attention.scale': config.attentionScale ?? 1,
      embedding_scale: config.embeddingScale ?? 1,
      residual_scale: config.residualMultiplier ?? 1,
      logit_scale: 1 / (config.logitScale ?? 1),
    }),
    paired: { q_proj: 'heads', k_proj: 'keyValueHeads' },
  },
}
