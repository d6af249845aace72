import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import {
  type ExpertsLikeConfig,
  expertCounts,
  qwenExperts,
  qwenExpertsGguf,
  qwenNames,
  sparseLayers,
} from './expertsLike.ts'
import type { Family, GgufFamily } from './family.ts'
import { sizeField, type Warn } from './fields.ts'
import { headNormModules, llamaLikeGguf, parseLlamaLike } from './llamaLike.ts'
import { headRMSNorms, type LlamaLikeForm, llamaLikeDecoder } from './llamaLikeDecoder.ts'
import { slidingWindow } from './qwen2.ts'

/*
 * Qwen3-MoE: Qwen3, with normalized queries and keys of each head, whose layers, or some of them, have
 * experts.
 * Source: Yang et al., "Qwen3 Technical Report", 2025; transformers, modeling_qwen3_moe.py.
 */

const form: LlamaLikeForm<ExpertsLikeConfig> = {
  headNorms: headRMSNorms,
  mlp: qwenExperts('Qwen3Moe'),
}

/** Qwen3-MoE with its language-model head: token ids → logits. */
export class Qwen3MoeForCausalLM extends DecoderLM<ExpertsLikeConfig> {
  constructor(config: ExpertsLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Qwen3Moe', form), 'model')
  }
}

/** The config of Qwen3-MoE from its config.json; see `Family.parse`. */
export function parseQwen3MoeConfig(json: JsonObject, warn: Warn = () => {}): ExpertsLikeConfig {
  const window = slidingWindow(json)
  const bias = json.boolean('attention_bias', false)
  const config = parseLlamaLike(json, warn, {
    keyValueHeads: 4,
    maxPositions: 32768,
    biases: { qkv: bias, output: bias, mlp: false },
    window: () => window,
  })
  const { layers } = config
  return {
    ...config,
    experts: {
      ...expertCounts(json, layers, { count: 128, perToken: 8 }),
      intermediateSize: sizeField(json, 'moe_intermediate_size', 768),
      normalized: json.boolean('norm_topk_prob', false),
      sharedSize: null,
      layers: sparseLayers(json, layers),
    },
  }
}

const experts = qwenExpertsGguf(llamaLikeGguf)

const gguf: GgufFamily<ExpertsLikeConfig> = {
  ...llamaLikeGguf,
  ...experts,
  architecture: 'qwen3moe',
  otherFields: () => ({ norm_topk_prob: true }),
  modules: { ...experts.modules, ...headNormModules },
}

export const qwen3Moe: Family<ExpertsLikeConfig> = {
  architectures: ['Qwen3MoeForCausalLM'],
  modelTypes: ['qwen3_moe'],
  parse: parseQwen3MoeConfig,
  build: (config) => new Qwen3MoeForCausalLM(config),
  names: qwenNames,
  gguf,
}
