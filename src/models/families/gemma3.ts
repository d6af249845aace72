import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import type { RopeOptions } from '../../nn/rope.ts'
import { DecoderLM } from '../decoderLM.ts'
import type { Family } from './family.ts'
import { isNull, positiveField, sizeField, type Warn } from './fields.ts'
import { checkGemma, gemmaNorm, parseGemmaLike } from './gemma.ts'
import {
  gemma2Form,
  gemma2Modules,
  gemma2Norms,
  ggufHeadScale,
  hasUsualScale,
  softcapField,
} from './gemma2.ts'
import { checkGguf, layerTypes, windowKeys } from './ggufKeys.ts'
import {
  headNormModules,
  type LlamaLikeConfig,
  layerWindow,
  llamaLikeGguf,
  llamaLikeNames,
} from './llamaLike.ts'
import { type LlamaLikeForm, llamaLikeDecoder } from './llamaLikeDecoder.ts'
import { ropeFields, usualRopeNames } from './ropeFields.ts'

/*
 * Gemma 3, its language model: Gemma 2 whose queries and keys are normalized head by head, without bounds,
 * with five layers of a window for one that sees all tokens; the two turn them by other angles.
 * Source: Gemma Team, "Gemma 3 Technical Report", 2025; transformers, modeling_gemma3.py.
 */

/** Gemma 3 with its language-model head: token ids → logits. */
export class Gemma3ForCausalLM extends DecoderLM<LlamaLikeConfig> {
  constructor(config: LlamaLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Gemma3', form), 'model', config)
  }
}

const form: LlamaLikeForm = {
  ...gemma2Form,
  headNorms: {
    names: ['q_norm', 'k_norm'],
    norm: (config, _heads, dtype) => gemmaNorm(config, config.headSize, dtype),
  },
}

/** The config of Gemma 3 from its config.json; see `Family.parse`. */
export function parseGemma3Config(json: JsonObject, warn: Warn = () => {}): LlamaLikeConfig {
  // transformers reads it and bounds nothing.
  if (json.has('attn_logit_softcapping')) throw json.error('attn_logit_softcapping', 'must be null')
  if (isNull(json, 'sliding_window')) throw json.error('sliding_window', 'must be a size')
  const window = sizeField(json, 'sliding_window', 4096)
  const pattern = json.positiveInteger('sliding_window_pattern', 6)
  const config = parseGemmaLike(json, warn, {
    keyValueHeads: 4,
    maxPositions: 131072,
    window: layerWindow(json, window, (layer) => (layer + 1) % pattern !== 0),
  })
  return {
    ...config,
    ...ropesOf(json, config),
    layerRotary: config.windows.map((each) => (each === null ? 'rotary' : 'localRotary')),
    attentionScale: positiveField(json, 'query_pre_attn_scalar', 256) ** -0.5,
    finalSoftcap: softcapField(json, 'final_logit_softcapping'),
  }
}

/**
 * The angles of layers that see all tokens, and of those with a window: each in its part of
 * `rope_parameters`, as transformers 5 writes them, or in fields beside each other, as before.
 * `rope_scaling` is of the former, and wins. Source: transformers, configuration_gemma3.py.
 */
function ropesOf(
  json: JsonObject,
  sizes: { headSize: number; maxPositions: number },
): { rope: RopeOptions; localRope: RopeOptions } {
  const both = json.has('rope_parameters') ? json.object('rope_parameters') : null
  const of = (type: string) => (both?.has(type) ? both.object(type) : null)
  const [all, local] = [of('full_attention'), of('sliding_attention')]
  const scaled = json.has('rope_scaling') ? json.object('rope_scaling') : null
  return {
    rope: ropeFields(json, sizes, {
      theta: 1_000_000,
      fields: all && scaled ? all.with(scaled) : (scaled ?? all),
    }),
    localRope: ropeFields(json, sizes, {
      theta: 10_000,
      fields: local,
      names: { ...usualRopeNames, theta: 'rope_local_base_freq' },
    }),
  }
}

export const gemma3: Family<LlamaLikeConfig> = {
  architectures: ['Gemma3ForCausalLM'],
  modelTypes: ['gemma3_text'],
  parse: parseGemma3Config,
  build: (config) => new Gemma3ForCausalLM(config),
  names: llamaLikeNames,
  gguf: {
    ...llamaLikeGguf,
    architecture: 'gemma3',
    fields: { ...llamaLikeGguf.fields, sliding_window: 'attention.sliding_window' },
    optionalFields: {
      ...llamaLikeGguf.optionalFields,
      rope_local_base_freq: 'rope.freq_base_swa',
      final_logit_softcapping: 'final_logit_softcapping',
    },
    otherFields: (_has, value) => ({
      layer_types: layerTypes(value, 6),
      query_pre_attn_scalar: ggufHeadScale(value, 62),
    }),
    keys(config) {
      const { localRope, finalSoftcap } = config
      checkGemma('Gemma 3', config)
      checkGguf('Gemma 3', {
        'scale scores by the size of its heads': hasUsualScale(config, 62),
        'scale no positions in layers with a window': localRope?.scaling.type === 'default',
      })
      return {
        ...llamaLikeGguf.keys(config),
        ...windowKeys('Gemma 3', config, 6),
        ...(localRope && { 'rope.freq_base_swa': localRope.theta }),
        ...(finalSoftcap && { final_logit_softcapping: finalSoftcap }),
      }
    },
    modules: { ...gemma2Modules, ...headNormModules },
    unitOffset: [...gemma2Norms, 'q_norm', 'k_norm'],
  },
}
