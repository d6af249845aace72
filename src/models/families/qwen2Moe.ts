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
import { layerWindow, llamaLikeGguf, parseLlamaLike } from './llamaLike.ts'
import { llamaLikeDecoder } from './llamaLikeDecoder.ts'
import { slidingWindow } from './qwen2.ts'

/*
 * Qwen1.5-MoE and Qwen2-MoE: Qwen2 whose layers, or some of them, have experts, and one more that sees every
 * token behind a gate.
 * Source: Yang et al., "Qwen2 Technical Report", 2024; transformers, modeling_qwen2_moe.py.
 */

/** Qwen2-MoE with its language-model head: token ids → logits. */
export class Qwen2MoeForCausalLM extends DecoderLM<ExpertsLikeConfig> {
  constructor(config: ExpertsLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Qwen2Moe', { mlp: qwenExperts('Qwen2Moe') }), 'model')
  }
}

/** The config of Qwen2-MoE from its config.json; see `Family.parse`. */
export function parseQwen2MoeConfig(json: JsonObject, warn: Warn = () => {}): ExpertsLikeConfig {
  const behind = json.count('max_window_layers', 28)
  const config = parseLlamaLike(json, warn, {
    keyValueHeads: 16,
    maxPositions: 32768,
    biases: { qkv: json.boolean('qkv_bias', true), output: false, mlp: false },
    window: layerWindow(json, slidingWindow(json), (layer) => layer % 2 === 0 && layer < behind),
  })
  const { layers } = config
  return {
    ...config,
    experts: {
      ...expertCounts(json, layers, { count: 60, perToken: 4 }),
      intermediateSize: sizeField(json, 'moe_intermediate_size', 1408),
      normalized: json.boolean('norm_topk_prob', false),
      sharedSize: sizeField(json, 'shared_expert_intermediate_size', 5632),
      layers: sparseLayers(json, layers),
    },
  }
}

const experts = qwenExpertsGguf(llamaLikeGguf)

const gguf: GgufFamily<ExpertsLikeConfig> = {
  ...llamaLikeGguf,
  ...experts,
  architecture: 'qwen2moe',
  fields: { ...experts.fields, shared_expert_intermediate_size: 'expert_shared_feed_forward_length' },
  keys: (config) => ({
    ...experts.keys(config),
    expert_shared_feed_forward_length: config.experts.sharedSize ?? 0,
  }),
  otherFields: (has) => ({ norm_topk_prob: false, qkv_bias: has('blk.0.attn_q.bias') }),
  modules: {
    ...experts.modules,
    'blk.N.ffn_gate_inp_shexp': 'model.layers.N.mlp.shared_expert_gate',
    'blk.N.ffn_gate_shexp': 'model.layers.N.mlp.shared_expert.gate_proj',
    'blk.N.ffn_up_shexp': 'model.layers.N.mlp.shared_expert.up_proj',
    'blk.N.ffn_down_shexp': 'model.layers.N.mlp.shared_expert.down_proj',
  },
  oneRow: ['shared_expert_gate'],
}

export const qwen2Moe: Family<ExpertsLikeConfig> = {
  architectures: ['Qwen2MoeForCausalLM'],
  modelTypes: ['qwen2_moe'],
  parse: parseQwen2MoeConfig,
  build: (config) => new Qwen2MoeForCausalLM(config),
  names: qwenNames,
  gguf,
}
