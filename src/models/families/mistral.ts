import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { isNull, sizeField, type Warn } from './fields.ts'
import { llamaGguf } from './llama.ts'
import { type LlamaLikeConfig, llamaLikeNames, parseLlamaLike } from './llamaLike.ts'
import { llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * Mistral: Llama whose layers see a window of the last tokens only, unless there is none.
 * Source: Jiang et al., "Mistral 7B", 2023; transformers, modeling_mistral.py.
 */

/** Mistral with its language-model head: token ids → logits. */
export class MistralForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Mistral'), 'model')
  }
}

/** The config of Mistral from its config.json; see `Family.parse`. */
export function parseMistralConfig(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  // Where the field is absent it is 4096 in transformers; null says that there is no window.
  const window = isNull(json, 'sliding_window') ? null : sizeField(json, 'sliding_window', 4096)
  if (json.has('layer_types')) throw json.error('layer_types', 'must be absent: all layers are of one type')
  return parseLlamaLike(json, warn, {
    keyValueHeads: 8,
    maxPositions: 131072,
    biases: { qkv: false, output: false, mlp: false },
    window: () => window,
  })
}

export const mistral: Family<LlamaLikeConfig> = {
  architectures: ['MistralForCausalLM'],
  modelTypes: ['mistral'],
  parse: parseMistralConfig,
  build: (config) => new MistralForCausalLM(config),
  names: llamaLikeNames,
  // Files call it a Llama; what tells it apart is the window.
  gguf: {
    ...llamaGguf,
    fields: { ...llamaGguf.fields, sliding_window: 'attention.sliding_window' },
    keys: (config) => {
      const [window] = config.windows
      return { ...llamaGguf.keys(config), ...(window && { 'attention.sliding_window': window }) }
    },
  },
}
