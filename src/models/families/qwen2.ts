import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { isNull, sizeField, type Warn } from './fields.ts'
import { checkGguf } from './ggufKeys.ts'
import {
  type LlamaLikeConfig,
  layerWindow,
  llamaLikeGguf,
  llamaLikeNames,
  parseLlamaLike,
} from './llamaLike.ts'
import { llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * Qwen2 and Qwen2.5: Llama with biases in the projections to queries, keys and values, and with layers that
 * see a window of the last tokens only.
 * Source: Yang et al., "Qwen2 Technical Report", 2024; transformers, modeling_qwen2.py.
 */

/** Qwen2 with its language-model head: token ids → logits. */
export class Qwen2ForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Qwen2'), 'model')
  }
}

/** The config of Qwen2 from its config.json; see `Family.parse`. */
export function parseQwen2Config(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  return parseLlamaLike(json, warn, {
    keyValueHeads: 32,
    maxPositions: 32768,
    biases: { qkv: true, output: false, mlp: false },
    window: qwenWindow(json),
  })
}

/** The window of each layer: as `layer_types` lists them, else that of all from `max_window_layers` on. */
export function qwenWindow(json: JsonObject): (layer: number) => number | null {
  const first = json.count('max_window_layers', 28)
  return layerWindow(json, slidingWindow(json), (layer) => layer >= first)
}

/** The window of Qwen's layers that have one; null: there are none. */
export function slidingWindow(json: JsonObject): number | null {
  // Where the field is absent it is 4096 in transformers; null says that there is no window.
  const slides = json.boolean('use_sliding_window', false) && !isNull(json, 'sliding_window')
  return slides ? sizeField(json, 'sliding_window', 4096) : null
}

export const qwen2: Family<LlamaLikeConfig> = {
  architectures: ['Qwen2ForCausalLM'],
  modelTypes: ['qwen2'],
  parse: parseQwen2Config,
  build: (config) => new Qwen2ForCausalLM(config),
  names: llamaLikeNames,
  gguf: {
    ...llamaLikeGguf,
    architecture: 'qwen2',
    keys(config) {
      checkGguf('Qwen2', {
        'have layers that see all tokens': config.windows.every((window) => window === null),
      })
      return llamaLikeGguf.keys(config)
    },
  },
}
