import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import type { Warn } from './fields.ts'
import { type LlamaLikeConfig, llamaLikeDecoder, parseLlamaLike } from './llamaLike.ts'

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

/** Llama 1 to 3, and whatever else calls itself so. */
export const llama: Family<LlamaLikeConfig> = {
  architectures: ['LlamaForCausalLM'],
  modelTypes: ['llama'],
  parse: parseLlamaConfig,
  build: (config) => new LlamaForCausalLM(config),
  names: { extras: /\.rotary_emb\.inv_freq$/ },
}
