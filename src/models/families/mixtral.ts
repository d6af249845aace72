import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { activations } from '../../nn/activations.ts'
import { Experts, Router } from '../../nn/experts.ts'
import { Linear } from '../../nn/linear.ts'
import { GatedMLP } from '../../nn/mlp.ts'
import { DecoderLM } from '../decoderLM.ts'
import { type ExpertsLikeConfig, expertCounts, expertsGguf } from './expertsLike.ts'
import type { Family } from './family.ts'
import { sizeField, type Warn } from './fields.ts'
import { llamaGguf } from './llama.ts'
import { llamaLikeNames, parseLlamaLike } from './llamaLike.ts'
import { llamaLikeDecoder } from './llamaLikeDecoder.ts'

/*
 * Mixtral: Mistral whose MLPs are experts, of which each token goes to a few. Modules have the names of its
 * checkpoints; transformers 5 calls them otherwise, and keeps them in stacks.
 * Source: Jiang et al., "Mixtral of Experts", 2024; transformers, modeling_mixtral.py.
 */

/** Mixtral with its language-model head: token ids → logits. */
export class MixtralForCausalLM extends DecoderLM<ExpertsLikeConfig> {
  constructor(config: ExpertsLikeConfig, dtype: FloatDType = 'float32') {
    super(config, dtype, llamaLikeDecoder('Mixtral', { mlp: experts, mlpName: 'block_sparse_moe' }), 'model')
  }
}

function experts(config: ExpertsLikeConfig, _: number, dtype: FloatDType): Experts {
  const { hiddenSize, experts } = config
  const options = { bias: false, dtype }
  const up = () => new Linear(hiddenSize, experts.intermediateSize, options)
  const expert = () =>
    new GatedMLP(
      { gate: up(), down: new Linear(experts.intermediateSize, hiddenSize, options), up: up() },
      { type: 'MixtralBlockSparseTop2MLP', parts: { gate: 'w1', down: 'w2', up: 'w3' } },
      activations[config.activation],
    )
  return new Experts(
    {
      router: new Router(hiddenSize, experts.count, options),
      experts: Array.from({ length: experts.count }, expert),
    },
    experts,
    { type: 'MixtralSparseMoeBlock', parts: { router: 'gate' } },
  )
}

/** The config of Mixtral from its config.json; see `Family.parse`. */
export function parseMixtralConfig(json: JsonObject, warn: Warn = () => {}): ExpertsLikeConfig {
  const window = json.has('sliding_window') ? sizeField(json, 'sliding_window') : null
  const config = parseLlamaLike(json, warn, {
    keyValueHeads: 8,
    maxPositions: 131072,
    epsilon: ['rms_norm_eps', 1e-5],
    rope: { theta: 1e6 },
    biases: { qkv: false, output: false, mlp: false },
    window: () => window,
  })
  const { layers, intermediateSize } = config
  const counts = expertCounts(json, layers, { count: 8, perToken: 2 })
  const all = new Array<boolean>(layers).fill(true)
  return {
    ...config,
    experts: { ...counts, intermediateSize, normalized: true, sharedSize: null, layers: all },
  }
}

export const mixtral: Family<ExpertsLikeConfig> = {
  architectures: ['MixtralForCausalLM'],
  modelTypes: ['mixtral'],
  parse: parseMixtralConfig,
  build: (config) => new MixtralForCausalLM(config),
  names: {
    ...llamaLikeNames,
    aliases: (path) => [path.replace('.block_sparse_moe', '.mlp')],
    stack(path) {
      const [, before, name] = /^(.*\.block_sparse_moe\.experts)\.(gate_up_proj|down_proj)$/.exec(path) ?? []
      if (before === undefined) return null
      const parts = name === 'down_proj' ? ['w2'] : ['w1', 'w3']
      return { parts: parts.map((part) => `${before}.E.${part}.weight`) }
    },
  },
  // Files call it a Llama; what tells it apart are the experts.
  gguf: {
    ...llamaGguf,
    ...expertsGguf(llamaGguf, 'num_local_experts', 'model.layers.N.block_sparse_moe', {
      ffn_gate_exps: 'w1',
      ffn_down_exps: 'w2',
      ffn_up_exps: 'w3',
    }),
  },
}
