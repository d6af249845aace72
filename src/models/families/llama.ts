import { aFloatDType, type FloatDType } from '../../core/dtype.ts'
import { check } from '../../core/kinds.ts'
import type { Scalar } from '../../devices/commandList.ts'
import type { Device } from '../../devices/device.ts'
import type { JsonObject } from '../../formats/json.ts'
import { type AttentionCache, withoutCache } from '../../nn/attentionCache.ts'
import { Embedding } from '../../nn/embedding.ts'
import { Linear } from '../../nn/linear.ts'
import { Module } from '../../nn/module.ts'
import type { QEmbedding } from '../../nn/qembedding.ts'
import type { QLinear } from '../../nn/qlinear.ts'
import { RMSNorm } from '../../nn/rmsNorm.ts'
import { add, rope, siluMul } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { KVCache } from '../caches/kvCache.ts'
import { aConfig, CausalLM, type CausalLMConfig } from '../causalLM.ts'
import { inverseFrequencies, type RopeTables, ropeTables } from '../rope.ts'
import type { Family } from './family.ts'
import { positiveField, sizeField, tokenIdsField, type Warn, wordField } from './fields.ts'
import { type RopeFields, ropeFields } from './ropeFields.ts'

/*
 * The Llama architecture, its modules named as in Hugging Face's checkpoints.
 * Source: Touvron et al., "LLaMA", 2023; transformers, modeling_llama.py.
 */

/** What a Llama checkpoint's config.json says, in this library's names. */
export interface LlamaConfig extends CausalLMConfig, RopeFields {
  intermediateSize: number
  normEpsilon: number
  attentionBias: boolean
  mlpBias: boolean
}

/** The config of Llama from its config.json; see `Family.parse`. */
export function parseLlamaConfig(json: JsonObject, warn: Warn = () => {}): LlamaConfig {
  wordField(json, 'hidden_act', ['silu'], 'silu')
  const heads = sizeField(json, 'num_attention_heads')
  const hiddenSize = sizeField(json, 'hidden_size')
  const keyValueHeads = sizeField(json, 'num_key_value_heads', heads)
  if (heads % keyValueHeads !== 0)
    throw json.error('num_key_value_heads', `must divide num_attention_heads (${heads})`)
  const headSize = sizeField(json, 'head_dim', hiddenSize % heads === 0 ? hiddenSize / heads : undefined)
  if (headSize % 2 !== 0) throw json.error('head_dim', `must be even; it is ${headSize}`)
  const vocabularySize = sizeField(json, 'vocab_size')
  const maxPositions = sizeField(json, 'max_position_embeddings', 2048)
  return {
    hiddenSize,
    intermediateSize: sizeField(json, 'intermediate_size'),
    layers: sizeField(json, 'num_hidden_layers'),
    heads,
    keyValueHeads,
    headSize,
    vocabularySize,
    maxPositions,
    normEpsilon: positiveField(json, 'rms_norm_eps', 1e-6),
    ...ropeFields(json, { headSize, maxPositions }),
    tieWordEmbeddings: json.boolean('tie_word_embeddings', false),
    attentionBias: json.boolean('attention_bias', false),
    mlpBias: json.boolean('mlp_bias', false),
    eosTokenIds: tokenIdsField(json, 'eos_token_id', vocabularySize, warn),
  }
}

/** Where the tokens of a forward pass stand, and what they may look back on. */
interface Context {
  cache: AttentionCache
  /** Of the first token; a scalar when the pass is recorded to be kept. */
  position: number | Scalar
  /** Rotary tables of all positions, both [positions, headSize/2]. */
  cos: Tensor
  sin: Tensor
}

export class LlamaAttention extends Module {
  q_proj: Linear | QLinear
  k_proj: Linear | QLinear
  v_proj: Linear | QLinear
  o_proj: Linear | QLinear
  private readonly config: LlamaConfig

  constructor(config: LlamaConfig, dtype: FloatDType) {
    super()
    const { hiddenSize, heads, keyValueHeads, headSize, attentionBias: bias } = config
    this.config = config
    this.q_proj = new Linear(hiddenSize, heads * headSize, { bias, dtype })
    this.k_proj = new Linear(hiddenSize, keyValueHeads * headSize, { bias, dtype })
    this.v_proj = new Linear(hiddenSize, keyValueHeads * headSize, { bias, dtype })
    this.o_proj = new Linear(heads * headSize, hiddenSize, { bias, dtype })
  }

  /**
   * x [B, T, hidden] → [B, T, hidden]; the tokens' keys and values are added to the cache of this layer.
   */
  forward(x: Tensor, layer: number, { cache, position, cos, sin }: Context): Tensor {
    const { heads, keyValueHeads, headSize } = this.config
    const [B, T] = x.shape
    const q = this.q_proj.forward(x).view([B, T, heads, headSize])
    const k = this.k_proj.forward(x).view([B, T, keyValueHeads, headSize])
    const v = this.v_proj.forward(x).view([B, T, keyValueHeads, headSize])
    const scale = 1 / Math.sqrt(headSize)
    const [turnedQ, turnedK] = [rope(q, cos, sin, position), rope(k, cos, sin, position)]
    const y = cache.attend(layer, turnedQ, turnedK, v, { position, scale })
    return this.o_proj.forward(y.view([B, T, heads * headSize]))
  }
}

export class LlamaMLP extends Module {
  gate_proj: Linear | QLinear
  up_proj: Linear | QLinear
  down_proj: Linear | QLinear

  constructor({ hiddenSize, intermediateSize, mlpBias: bias }: LlamaConfig, dtype: FloatDType) {
    super()
    this.gate_proj = new Linear(hiddenSize, intermediateSize, { bias, dtype })
    this.up_proj = new Linear(hiddenSize, intermediateSize, { bias, dtype })
    this.down_proj = new Linear(intermediateSize, hiddenSize, { bias, dtype })
  }

  /** down(silu(gate(x)) · up(x)) */
  forward(x: Tensor): Tensor {
    return this.down_proj.forward(siluMul(this.gate_proj.forward(x), this.up_proj.forward(x)))
  }
}

export class LlamaDecoderLayer extends Module {
  self_attn: LlamaAttention
  mlp: LlamaMLP
  input_layernorm: RMSNorm
  post_attention_layernorm: RMSNorm

  constructor(config: LlamaConfig, dtype: FloatDType) {
    super()
    this.self_attn = new LlamaAttention(config, dtype)
    this.mlp = new LlamaMLP(config, dtype)
    this.input_layernorm = new RMSNorm(config.hiddenSize, config.normEpsilon, { dtype })
    this.post_attention_layernorm = new RMSNorm(config.hiddenSize, config.normEpsilon, { dtype })
  }

  forward(x: Tensor, layer: number, context: Context): Tensor {
    return scope(() => {
      const attended = add(x, this.self_attn.forward(this.input_layernorm.forward(x), layer, context))
      return add(attended, this.mlp.forward(this.post_attention_layernorm.forward(attended)))
    })
  }
}

export class LlamaModel extends Module {
  embed_tokens: Embedding | QEmbedding
  layers: LlamaDecoderLayer[]
  norm: RMSNorm

  constructor(config: LlamaConfig, dtype: FloatDType) {
    super()
    this.embed_tokens = new Embedding(config.vocabularySize, config.hiddenSize, { dtype })
    this.layers = Array.from({ length: config.layers }, () => new LlamaDecoderLayer(config, dtype))
    this.norm = new RMSNorm(config.hiddenSize, config.normEpsilon, { dtype })
  }

  /** ids [B, T] → [B, T, hidden], before the last norm. */
  forward(ids: Tensor, context: Context): Tensor {
    let x = this.embed_tokens.forward(ids)
    for (const [index, layer] of this.layers.entries()) x = layer.forward(x, index, context)
    return x
  }
}

/** The rotary tables of each model: none of its tensors, and a copy of it makes its own. */
const rotations = new WeakMap<LlamaForCausalLM, RopeTables & { isLong: boolean }>()

/** Llama with its language-model head: token ids → logits. */
export class LlamaForCausalLM extends CausalLM {
  readonly config: LlamaConfig
  model: LlamaModel
  lm_head: Linear | QLinear

  constructor(config: LlamaConfig, dtype: FloatDType = 'float32') {
    super()
    check('LlamaForCausalLM', 'config', config, aConfig)
    check('LlamaForCausalLM', 'dtype', dtype, aFloatDType)
    this.config = config
    this.eosTokenIds = config.eosTokenIds
    this.model = new LlamaModel(config, dtype)
    this.lm_head = new Linear(config.hiddenSize, config.vocabularySize, { bias: false, dtype })
    const { weight } = this.model.embed_tokens
    if (config.tieWordEmbeddings && weight instanceof Tensor) this.lm_head.weight = weight
  }

  get device(): Device {
    return this.model.norm.weight.device
  }

  get tokenEmbedding(): Embedding | QEmbedding {
    return this.model.embed_tokens
  }

  override prepare(capacity: number): void {
    this.rotate(capacity)
  }

  protected override hidden(ids: Tensor, cache: KVCache | null, position: number | Scalar): Tensor {
    const tables = this.rotate(cache?.capacity ?? ids.size(-1))
    return this.model.forward(ids, { cache: cache ?? withoutCache, position, ...tables })
  }

  protected override normalize(x: Tensor): Tensor {
    return this.model.norm.forward(x)
  }

  /**
   * The rotary tables, made anew when a longer cache comes. Where frequencies depend on the length of the
   * text, that is what the cache can hold, so that all keys in it are turned alike.
   */
  private rotate(positions: number): RopeTables {
    const { headSize, ropeTheta, ropeScaling: scaling } = this.config
    const isLong = scaling.type === 'longrope' && positions > scaling.originalMaxPositions
    const known = rotations.get(this)
    if (known && known.isLong === isLong && known.cos.size(0) >= positions) return known
    this.disposeRotation()
    const frequencies = inverseFrequencies(headSize, ropeTheta, scaling, isLong)
    const factor = scaling.type === 'longrope' ? scaling.attentionFactor : 1
    const tables = { ...keep(ropeTables(this.device, frequencies, positions, factor)), isLong }
    rotations.set(this, tables)
    return tables
  }

  private disposeRotation(): void {
    const tables = rotations.get(this)
    tables?.cos.dispose()
    tables?.sin.dispose()
    rotations.delete(this)
  }

  override dispose(): void {
    super.dispose()
    this.disposeRotation()
  }
}

export const llama: Family<LlamaConfig> = {
  architectures: ['LlamaForCausalLM'],
  modelTypes: ['llama'],
  parse: parseLlamaConfig,
  build: (config) => new LlamaForCausalLM(config),
  names: { extras: /\.rotary_emb\.inv_freq$/ },
}
