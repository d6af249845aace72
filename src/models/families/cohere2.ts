import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { DecoderLM } from '../decoderLM.ts'
import { cohereForm, cohereModules, parseCohereLike } from './cohere.ts'
import type { Family } from './family.ts'
import { isNull, sizeField, type Warn } from './fields.ts'
import { checkGguf, hasNoBiases, layerTypes, windowKeys } from './ggufKeys.ts'
import { type LlamaLikeConfig, layerNormGguf, layerWindow, llamaLikeNames } from './llamaLike.ts'
import { llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * Cohere's Command R7B and Command A: Command R with three layers of a window for one that sees all tokens,
 * which turns nothing by its position.
 * Source: Cohere, "Command A: An Enterprise-Ready Large Language Model", 2025; transformers,
 * modeling_cohere2.py.
 */

/** Command R7B with its language-model head: token ids → logits. */
export class Cohere2ForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Cohere2', cohereForm), 'model', config)
  }
}

/** The config of Command R7B from its config.json; see `Family.parse`. */
export function parseCohere2Config(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  if (isNull(json, 'sliding_window')) throw json.error('sliding_window', 'must be a size')
  const pattern = json.positiveInteger('sliding_window_pattern', 4)
  const window = sizeField(json, 'sliding_window', 4096)
  const config = parseCohereLike(json, warn, {
    window: layerWindow(json, window, (layer) => (layer + 1) % pattern !== 0),
  })
  return { ...config, layerRotary: config.windows.map((each) => (each === null ? null : 'rotary')) }
}

export const cohere2: Family<LlamaLikeConfig> = {
  architectures: ['Cohere2ForCausalLM'],
  modelTypes: ['cohere2'],
  parse: parseCohere2Config,
  build: (config) => new Cohere2ForCausalLM(config),
  names: llamaLikeNames,
  gguf: {
    ...layerNormGguf,
    architecture: 'cohere2',
    fields: {
      ...layerNormGguf.fields,
      logit_scale: 'logit_scale',
      sliding_window: 'attention.sliding_window',
    },
    otherFields: (_has, value) => ({ layer_types: layerTypes(value, 4) }),
    keys(config) {
      checkGguf('Command R7B', {
        'share the weight of embedding and head': config.tieWordEmbeddings,
        'have no biases': hasNoBiases(config),
      })
      return {
        ...layerNormGguf.keys(config),
        ...windowKeys('Command R7B', config, 4),
        logit_scale: config.logitScale ?? 1,
      }
    },
    modules: cohereModules,
  },
}
