import type { Stack } from '../../checkpoints/stacks.ts'
import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { Block } from '../../nn/block.ts'
import { Experts, Router } from '../../nn/experts.ts'
import type { LinearLike } from '../../nn/layerLike.ts'
import { Linear } from '../../nn/linear.ts'
import type { ExpertLike, Multiply } from '../../nn/mlp.ts'
import { add, clamp, mul, sigmoid, slice } from '../../tensor/ops/index.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import { DecoderLM } from '../decoderLM.ts'
import { type ExpertsLikeConfig, expertCounts } from './expertsLike.ts'
import type { Family } from './family.ts'
import { isNull, positiveField, sizeField, type Warn } from './fields.ts'
import { layerWindow, llamaLikeNames, parseLlamaLike } from './llamaLike.ts'
import { llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * gpt-oss: experts in every layer, every second layer sees a window, and attention has sinks: one more score
 * of each head, whose weight gives nothing. The experts of its checkpoints are 4-bit floats (the scheme
 * `mxfp4`), or stacks of floats that lie the other way round.
 * Source: OpenAI, "gpt-oss-120b & gpt-oss-20b Model Card", 2025; transformers, modeling_gpt_oss.py.
 */

/** What a gpt-oss checkpoint's config.json says, in this library's names. */
export interface GptOssConfig extends ExpertsLikeConfig {
  /** Of the experts: see `GptOssExpert`. */
  alpha: number
  limit: number
}

/**
 * y = down(g · sigmoid(alpha · g) · (u + 1)), where g = min(gate(x), limit) and u = up(x) between ±limit. The
 * outputs of one layer are gate and up in turn.
 */
class GptOssExpert extends Block<'gateUp' | 'down'> implements ExpertLike {
  declare readonly gateUp: LinearLike
  declare readonly down: LinearLike
  private readonly alpha: number
  private readonly limit: number

  constructor({ hiddenSize, experts, alpha, limit }: GptOssConfig, dtype: FloatDType) {
    super({ type: 'GptOssExpert', parts: { gateUp: 'gate_up_proj', down: 'down_proj' } })
    Object.assign(this, {
      gateUp: new Linear(hiddenSize, 2 * experts.intermediateSize, { dtype }),
      down: new Linear(experts.intermediateSize, hiddenSize, { dtype }),
    })
    this.alpha = alpha
    this.limit = limit
  }

  /** x [..., hidden] → [..., hidden] */
  forward(x: Tensor): Tensor {
    return this.compute(x, (part, input) => this[part].forward(input))
  }

  compute(x: Tensor, multiply: Multiply<'gateUp' | 'down'>): Tensor {
    const { alpha, limit } = this
    const both = multiply('gateUp', x)
    const every = (first: number) => slice(both, -1, first, both.size(-1), 2)
    const gate = clamp(every(0), -Infinity, limit)
    const up = clamp(every(1), -limit, limit)
    return multiply('down', mul(mul(gate, sigmoid(mul(gate, alpha))), add(up, 1)))
  }
}

function experts(config: GptOssConfig, _: number, dtype: FloatDType): Experts {
  return new Experts(
    {
      router: new Router(config.hiddenSize, config.experts.count, { dtype }),
      experts: Array.from({ length: config.experts.count }, () => new GptOssExpert(config, dtype)),
    },
    config.experts,
    { type: 'GptOssMLP', parts: {} },
  )
}

/** gpt-oss with its language-model head: token ids → logits. */
export class GptOssForCausalLM extends DecoderLM<GptOssConfig> {
  constructor(config: GptOssConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('GptOss', { mlp: experts, sinks: true }), 'model')
  }
}

/** The config of gpt-oss from its config.json; see `Family.parse`. */
export function parseGptOssConfig(json: JsonObject, warn: Warn = () => {}): GptOssConfig {
  if (!json.has('rope_parameters') && !json.has('rope_scaling'))
    throw json.error('rope_parameters', 'must say how positions are scaled')
  const bias = json.boolean('attention_bias', true)
  const window = isNull(json, 'sliding_window') ? null : sizeField(json, 'sliding_window', 128)
  const config = parseLlamaLike(json, warn, {
    keyValueHeads: 8,
    headSize: 64,
    maxPositions: 131072,
    epsilon: ['rms_norm_eps', 1e-5],
    rope: { theta: 150000 },
    biases: { qkv: bias, output: bias, mlp: true },
    window: layerWindow(json, window, (layer) => layer % 2 === 0),
  })
  const { layers, intermediateSize } = config
  const counts = expertCounts(json, layers, { count: 128, perToken: 4 })
  const all = new Array<boolean>(layers).fill(true)
  return {
    ...config,
    experts: { ...counts, intermediateSize, normalized: true, sharedSize: null, layers: all },
    alpha: positiveField(json, 'swiglu_alpha', 1.702),
    limit: positiveField(json, 'swiglu_limit', 7),
  }
}

/** What the tensor of a layer's experts holds of each. */
function stack(path: string): Stack | null {
  const found = /^(.*\.mlp\.experts)\.(gate_up_proj|down_proj)(?:_(bias|blocks|scales))?$/.exec(path)
  if (!found) return null
  const [, before, name, part = 'weight'] = found
  return { parts: [`${before}.E.${name}.${part}`], turned: part === 'weight' }
}

export const gptOss: Family<GptOssConfig> = {
  architectures: ['GptOssForCausalLM'],
  modelTypes: ['gpt_oss'],
  parse: parseGptOssConfig,
  build: (config) => new GptOssForCausalLM(config),
  names: {
    ...llamaLikeNames,
    stack,
    saveLimits: [
      'save: transformers has the experts of a layer in one tensor, and finds none where each has its own; lowbit reads both',
    ],
  },
}
