import type { FloatDType } from '../../core/dtype.ts'
import type { JsonObject } from '../../formats/json.ts'
import { Experts, Router } from '../../nn/experts.ts'
import type { ExpertLike } from '../../nn/mlp.ts'
import type { CheckpointNames } from '../pretrained.ts'
import type { GgufFamily } from './family.ts'
import { sizeField } from './fields.ts'
import { type LlamaLikeConfig, llamaLikeNames } from './llamaLike.ts'
import { gatedMLP } from './llamaLikeDecoder.ts'

/*
 * What the families with experts share: which of a layer's a token goes to, and how checkpoints name them.
 */

/** What a config.json says of the experts of a layer, in this library's names. */
export interface ExpertsConfig {
  count: number
  perToken: number
  /** Values between an expert's two projections. */
  intermediateSize: number
  /** Whether the weights of a token's experts sum to 1; see `ExpertsOptions`. */
  normalized: boolean
  /** Values within the expert that sees every token; null where there is none. */
  sharedSize: number | null
  /** Whether a layer has experts; else it has an MLP. */
  layers: readonly boolean[]
}

export interface ExpertsLikeConfig extends LlamaLikeConfig {
  experts: ExpertsConfig
}

/** Experts of all layers of a model: more than any published has, few enough to be listed. */
const mostExperts = 2 ** 16

/** How many experts a layer has, by one of two names, and how many a token goes to. */
export function expertCounts(
  json: JsonObject,
  layers: number,
  defaults: { count: number; perToken: number },
): { count: number; perToken: number } {
  const key = json.has('num_local_experts') ? 'num_local_experts' : 'num_experts'
  const count = sizeField(json, key, defaults.count)
  if (count * layers > mostExperts)
    throw json.error(key, `must be at most ${mostExperts} in all ${layers} layers together`)
  const perToken = sizeField(json, 'num_experts_per_tok', defaults.perToken)
  if (perToken > count) throw json.error('num_experts_per_tok', `must be at most ${key} (${count})`)
  return { count, perToken }
}

/** Which layers have experts: every `decoder_sparse_step`-th, but those of `mlp_only_layers`. */
export function sparseLayers(json: JsonObject, layers: number): boolean[] {
  const step = json.positiveInteger('decoder_sparse_step', 1)
  const without = json.counts('mlp_only_layers', [])
  return Array.from({ length: layers }, (_, layer) => !without.includes(layer) && (layer + 1) % step === 0)
}

/** The experts of a layer, with the names of Qwen's. */
export function qwenExperts<C extends ExpertsLikeConfig>(family: string) {
  return (config: C, layer: number, dtype: FloatDType) => {
    const { hiddenSize, experts } = config
    const mlp = (intermediateSize: number) => gatedMLP(family, { ...config, intermediateSize }, dtype)
    if (!experts.layers[layer]) return mlp(config.intermediateSize)
    const shared = experts.sharedSize === null ? null : mlp(experts.sharedSize)
    return new Experts(
      {
        router: new Router(hiddenSize, experts.count, { bias: false, dtype }),
        experts: Array.from({ length: experts.count }, (): ExpertLike => mlp(experts.intermediateSize)),
        ...(shared && { shared, sharedGate: new Router(hiddenSize, 1, { bias: false, dtype }) }),
      },
      experts,
      {
        type: `${family}SparseMoeBlock`,
        parts: { router: 'gate', shared: 'shared_expert', sharedGate: 'shared_expert_gate' },
      },
    )
  }
}

/** The matrices of a layer's experts in a GGUF file, and what a model calls them within an expert. */
type ExpertNames = Readonly<Record<'ffn_gate_exps' | 'ffn_down_exps' | 'ffn_up_exps', string>>

/**
 * How GGUF files describe a model with experts: as the same without, but that the matrices of all experts of
 * a layer are one tensor.
 * @param counted the field of a config.json that says how many there are
 * @param block the path of a layer's block of experts, `N` standing for the number of the layer
 */
export function expertsGguf(
  plain: Omit<GgufFamily<LlamaLikeConfig>, 'architecture'>,
  counted: string,
  block: string,
  names: ExpertNames,
): Pick<GgufFamily<ExpertsLikeConfig>, 'fields' | 'keys' | 'modules'> {
  const modules = Object.entries(plain.modules).filter(([name]) => !/ffn_(gate|up|down)$/.test(name))
  const experts = Object.entries(names).map(([name, part]) => [`blk.N.${name}`, `${block}.experts.E.${part}`])
  return {
    fields: { ...plain.fields, [counted]: 'expert_count', num_experts_per_tok: 'expert_used_count' },
    keys: (config) => ({
      ...plain.keys(config),
      expert_count: config.experts.count,
      expert_used_count: config.experts.perToken,
    }),
    modules: Object.fromEntries([...modules, ['blk.N.ffn_gate_inp', `${block}.gate`], ...experts]),
  }
}

/** The same of Qwen's: experts have a size of their own. */
export function qwenExpertsGguf(plain: Omit<GgufFamily<LlamaLikeConfig>, 'architecture'>) {
  const found = expertsGguf(plain, 'num_experts', 'model.layers.N.mlp', {
    ffn_gate_exps: 'gate_proj',
    ffn_down_exps: 'down_proj',
    ffn_up_exps: 'up_proj',
  })
  return {
    ...found,
    fields: { ...found.fields, moe_intermediate_size: 'expert_feed_forward_length' },
    keys: (config: ExpertsLikeConfig) => ({
      ...found.keys(config),
      expert_feed_forward_length: config.experts.intermediateSize,
    }),
  }
}

/** How checkpoints name the tensors of such a model: transformers 5 may keep those of all experts in stacks. */
export const qwenNames: CheckpointNames = {
  ...llamaLikeNames,
  stack(path) {
    const [, before, name] = /^(.*\.mlp\.experts)\.(gate_up_proj|down_proj)$/.exec(path) ?? []
    if (before === undefined) return null
    const parts = name === 'down_proj' ? ['down_proj'] : ['gate_proj', 'up_proj']
    return { parts: parts.map((part) => `${before}.E.${part}.weight`) }
  },
}
