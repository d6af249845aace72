import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { sizeField, type Warn } from './fields.ts'
import { type LlamaLikeConfig, llamaLikeGguf, llamaLikeNames, parseLlamaLike } from './llamaLike.ts'
import { llamaLikeDecoder } from './llamaLikeDecoder.ts'
import { ropeKey } from './ropeFields.ts'

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
    rope: { partial: true, originalMaxPositions: 4096 },
    biases: { qkv: false, output: false, mlp: false },
    window: () => window,
  })
  const { type } = config.rope.scaling
  if (type === 'default' || type === 'longrope') return config
  throw json.error(ropeKey(json) ?? 'rope_scaling', 'must be of type default or longrope')
}

const {
  'blk.N.attn_q': _q,
  'blk.N.attn_k': _k,
  'blk.N.attn_v': _v,
  'blk.N.ffn_gate': _gate,
  ...modules
} = llamaLikeGguf.modules

export const phi3: Family<LlamaLikeConfig> = {
  architectures: ['Phi3ForCausalLM'],
  modelTypes: ['phi3'],
  parse: parsePhi3Config,
  build: (config) => new Phi3ForCausalLM(config),
  names: llamaLikeNames,
  gguf: {
    ...llamaLikeGguf,
    architecture: 'phi3',
    otherFields: (_has, value) => {
      // 0 says that there is none.
      const window = value('attention.sliding_window')
      return { sliding_window: window === 0 ? null : window }
    },
    keys: (config) => ({
      ...llamaLikeGguf.keys(config),
      'attention.sliding_window': config.windows[0] ?? 0,
    }),
    partialRotary: true,
    longRope: true,
    modules: {
      ...modules,
      'blk.N.attn_qkv': 'model.layers.N.self_attn.qkv_proj',
      'blk.N.ffn_up': 'model.layers.N.mlp.gate_up_proj',
    },
  },
}
