import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { RMSNorm } from '../../nn/rmsNorm.ts'
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
import { type LlamaLikeForm, llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * OLMo 2: Llama that normalizes what attention and MLP give, not what they take, and all queries and all keys
 * of a token as one row.
 * Source: OLMo et al., "2 OLMo 2 Furious", 2024; transformers, modeling_olmo2.py.
 */

/** OLMo 2 with its language-model head: token ids → logits. */
export class Olmo2ForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Olmo2', form), 'model')
  }
}

const form: LlamaLikeForm = {
  norms: () => ({
    attentionOutputNorm: 'post_attention_layernorm',
    mlpOutputNorm: 'post_feedforward_layernorm',
  }),
  headNorms: {
    names: ['q_norm', 'k_norm'],
    wholeRows: true,
    norm: ({ headSize, normEpsilon }, heads, dtype) => new RMSNorm(heads * headSize, normEpsilon, { dtype }),
  },
}

/** The config of OLMo 2 from its config.json; see `Family.parse`. */
export function parseOlmo2Config(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  const bias = json.boolean('attention_bias', false)
  return parseLlamaLike(json, warn, {
    maxPositions: 2048,
    epsilon: ['rms_norm_eps', 1e-5],
    biases: { qkv: bias, output: bias, mlp: false },
  })
}

const { 'blk.N.attn_norm': _, 'blk.N.ffn_norm': __, ...modules } = llamaLikeGguf.modules

export const olmo2: Family<LlamaLikeConfig> = {
  architectures: ['Olmo2ForCausalLM'],
  modelTypes: ['olmo2'],
  parse: parseOlmo2Config,
  build: (config) => new Olmo2ForCausalLM(config),
  names: llamaLikeNames,
  gguf: {
    ...llamaLikeGguf,
    architecture: 'olmo2',
    keys(config) {
      checkGguf('OLMo 2', {
        'have no biases': hasNoBiases(config),
        'have a head of its own': !config.tieWordEmbeddings,
      })
      return llamaLikeGguf.keys(config)
    },
    modules: {
      ...headNormModules,
      ...modules,
      'blk.N.post_attention_norm': 'model.layers.N.post_attention_layernorm',
      'blk.N.post_ffw_norm': 'model.layers.N.post_feedforward_layernorm',
    },
  },
}
