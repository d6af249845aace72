import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { RMSNorm } from '../../nn/rmsNorm.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { type Warn, wordField } from './fields.ts'
import { checkGguf, hasNoBiases } from './ggufKeys.ts'
import { type LlamaLikeConfig, llamaLikeGguf, llamaLikeNames, parseLlamaLike } from './llamaLike.ts'
import { type LlamaLikeForm, llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * Gemma: Llama with an embedding multiplied by √hidden, norms that multiply by 1 + weight, and a GELU in its
 * MLP.
 * Source: Gemma Team, "Gemma: Open Models Based on Gemini Research and Technology", 2024; transformers,
 * modeling_gemma.py.
 */

/** Gemma with its language-model head: token ids → logits. */
export class GemmaForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Gemma', { norm: gemmaNorm }), 'model')
  }
}

/** y = x / √(mean(x²) + ε) · (1 + weight). */
export const gemmaNorm: NonNullable<LlamaLikeForm['norm']> = ({ normEpsilon }, size, dtype) =>
  new RMSNorm(size, normEpsilon, { dtype, unitOffset: true })

/** The config of Gemma from its config.json; see `Family.parse`. */
export function parseGemmaConfig(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  // Files of the first release say gelu, and mean the approximation.
  wordField(json, 'hidden_act', ['gelu_pytorch_tanh', 'gelu'], 'gelu_pytorch_tanh')
  return parseGemmaLike(json, warn, { keyValueHeads: 16 })
}

/** What is the same in all of Gemma's generations. */
export function parseGemmaLike(
  json: JsonObject,
  warn: Warn,
  defaults: { keyValueHeads: number; maxPositions?: number; window?: (layer: number) => number | null },
): LlamaLikeConfig {
  if (json.boolean('use_bidirectional_attention', false))
    throw json.error('use_bidirectional_attention', 'must be false')
  const bias = json.boolean('attention_bias', false)
  const config = parseLlamaLike(json, warn, {
    maxPositions: 8192,
    headSize: 256,
    activation: ['hidden_activation', 'gelu_pytorch_tanh'],
    tieWordEmbeddings: true,
    biases: { qkv: bias, output: bias, mlp: false },
    ...defaults,
  })
  return { ...config, embeddingScale: Math.sqrt(config.hiddenSize) }
}

/** @throws FormatError if llama.cpp has no such model */
export function checkGemma(model: string, config: LlamaLikeConfig): void {
  checkGguf(model, {
    'have no biases': hasNoBiases(config),
    'share the weight of embedding and head': config.tieWordEmbeddings,
  })
}

export const gemma: Family<LlamaLikeConfig> = {
  architectures: ['GemmaForCausalLM'],
  modelTypes: ['gemma'],
  parse: parseGemmaConfig,
  build: (config) => new GemmaForCausalLM(config),
  names: llamaLikeNames,
  gguf: {
    ...llamaLikeGguf,
    architecture: 'gemma',
    keys(config) {
      checkGemma('Gemma', config)
      return llamaLikeGguf.keys(config)
    },
    unitOffset: ['input_layernorm', 'post_attention_layernorm', 'norm'],
  },
}
