import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family, GgufFamily } from './family.ts'
import type { Warn } from './fields.ts'
import { type LlamaLikeConfig, llamaLikeGguf, llamaLikeNames, parseLlamaLike } from './llamaLike.ts'
import { llamaLikeDecoder } from './llamaLikeDecoder.ts'

/** Llama with its language-model head: token ids → logits. */
export class LlamaForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Llama'), 'model')
  }
}

/** The config of Llama from its config.json; see `Family.parse`. */
export function parseLlamaConfig(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  const attention = json.boolean('attention_bias', false)
  const mlp = json.boolean('mlp_bias', false)
  return parseLlamaLike(json, warn, {
    maxPositions: 2048,
    biases: { qkv: attention, output: attention, mlp },
  })
}

/** How GGUF files describe Llama, which is how they describe Mistral, too. */
export const llamaGguf: GgufFamily<LlamaLikeConfig> = {
  ...llamaLikeGguf,
  architecture: 'llama',
  otherFields: (has) => ({
    hidden_act: 'silu',
    attention_bias: has('blk.0.attn_q.bias'),
    mlp_bias: has('blk.0.ffn_gate.bias'),
  }),
  paired: { q_proj: 'heads', k_proj: 'keyValueHeads' },
}

/** Llama 1 to 3, and whatever else calls itself so. */
export const llama: Family<LlamaLikeConfig> = {
  architectures: ['LlamaForCausalLM'],
  modelTypes: ['llama'],
  parse: parseLlamaConfig,
  build: (config) => new LlamaForCausalLM(config),
  names: llamaLikeNames,
  gguf: llamaGguf,
}
