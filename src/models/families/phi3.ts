import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { sizeField, type Warn } from './fields.ts'
import { type LlamaLikeConfig, llamaLikeNames, parseLlamaLike } from './llamaLike.ts'
import { llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * Phi-3 and Phi-4-mini: Llama with one projection to queries, keys and values and one to gate and values,
 * which turns a part of each head only, and for long texts by other angles.
 * Source: Abdin et al., "Phi-3 Technical Report", 2024; transformers, modeling_phi3.py.
 */

/** Phi-3 with its language-model head: token ids → logits. */
export class Phi3ForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Phi3', { fused: true }), 'model')
  }
}

/** The config of Phi-3 from its config.json; see `Family.parse`. */
export function parsePhi3Config(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  const window = json.has('sliding_window') ? sizeField(json, 'sliding_window') : null
  const config = parseLlamaLike(json, warn, {
    maxPositions: 4096,
    epsilon: ['rms_norm_eps', 1e-5],
    rope: { partial: true },
    biases: { qkv: false, output: false, mlp: false },
    window: () => window,
  })
  const { type } = config.rope.scaling
  if (type === 'default' || type === 'longrope') return config
  const key = json.has('rope_parameters') ? 'rope_parameters' : 'rope_scaling'
  throw json.error(key, 'must be of type default or longrope')
}

export const phi3: Family<LlamaLikeConfig> = {
  architectures: ['Phi3ForCausalLM'],
  modelTypes: ['phi3'],
  parse: parsePhi3Config,
  build: (config) => new Phi3ForCausalLM(config),
  names: llamaLikeNames,
}
