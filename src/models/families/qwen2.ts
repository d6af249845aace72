import type { FloatDType } from '../../core/dtype.ts'
import { FormatError } from '../../core/errors.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { sizeField, type Warn } from './fields.ts'
import {
  isNull,
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
  // Where the field is absent it is 4096 in transformers; null says that there is no window.
  const slides = json.boolean('use_sliding_window', false) && !isNull(json, 'sliding_window')
  const first = json.count('max_window_layers', 28)
  const window = slides ? sizeField(json, 'sliding_window', 4096) : null
  return layerWindow(json, window, (layer) => layer >= first)
}

/** @throws FormatError if layers see a window, which llama.cpp has none of */
function keys(config: LlamaLikeConfig): Record<string, number> {
  const window = config.windows.find((each) => each !== null)
  if (window === undefined) return llamaLikeGguf.keys(config)
  throw new FormatError(`gguf: every layer of a Qwen2 must see all tokens; some see ${window}`)
}

export const qwen2: Family<LlamaLikeConfig> = {
  architectures: ['Qwen2ForCausalLM'],
  modelTypes: ['qwen2'],
  parse: parseQwen2Config,
  build: (config) => new Qwen2ForCausalLM(config),
  names: llamaLikeNames,
  gguf: { ...llamaLikeGguf, architecture: 'qwen2', keys },
}
