import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import type { Warn } from './fields.ts'
import { checkGguf, hasNoBiases } from './ggufKeys.ts'
import {
  headNormModules,
  type LlamaLikeConfig,
  llamaLikeGguf,
  llamaLikeNames,
  parseLlamaLike,
} from './llamaLike.ts'
import { headRMSNorms, llamaLikeDecoder } from './llamaLikeDecoder.ts'
import { qwenWindow } from './qwen2.ts'

/*
 * Qwen3: Llama whose queries and keys are normalized head by head, with layers that see a window of the last
 * tokens only.
 * Source: Yang et al., "Qwen3 Technical Report", 2025; transformers, modeling_qwen3.py.
 */

/** Qwen3 with its language-model head: token ids → logits. */
export class Qwen3ForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Qwen3', { headNorms: headRMSNorms }), 'model')
  }
}

/** The config of Qwen3 from its config.json; see `Family.parse`. */
export function parseQwen3Config(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  const bias = json.boolean('attention_bias', false)
  return parseLlamaLike(json, warn, {
    keyValueHeads: 32,
    headSize: 128,
    maxPositions: 32768,
    biases: { qkv: bias, output: bias, mlp: false },
    window: qwenWindow(json),
  })
}

export const qwen3: Family<LlamaLikeConfig> = {
  architectures: ['Qwen3ForCausalLM'],
  modelTypes: ['qwen3'],
  parse: parseQwen3Config,
  build: (config) => new Qwen3ForCausalLM(config),
  names: llamaLikeNames,
  gguf: {
    ...llamaLikeGguf,
    architecture: 'qwen3',
    keys(config) {
      checkGguf('Qwen3', {
        'have layers that see all tokens': config.windows.every((window) => window === null),
        'have no biases': hasNoBiases(config),
      })
      return llamaLikeGguf.keys(config)
    },
    modules: { ...llamaLikeGguf.modules, ...headNormModules },
  },
}
