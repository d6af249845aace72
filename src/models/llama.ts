import type { FloatDType } from '../core/dtype.ts'
import { ShapeError } from '../core/errors.ts'
import type { Scalar } from '../devices/commandList.ts'
import type { Device } from '../devices/device.ts'
import { Embedding } from '../nn/embedding.ts'
import { Linear } from '../nn/linear.ts'
import { Module } from '../nn/module.ts'
import type { QEmbedding } from '../nn/qembedding.ts'
import type { QLinear } from '../nn/qlinear.ts'
import { RMSNorm } from '../nn/rmsNorm.ts'
import { add, attention, cacheWrite, rope, siluMul, transpose } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { KVCache } from './cache.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { LlamaConfig } from './config.ts'
import { inverseFrequencies, ropeTables } from './rope.ts'
import type { Tokenizer } from './tokenizer.ts'

/*
 * The Llama architecture, its modules named as in Hugging Face's checkpoints.
 * Source: Touvron et al., "LLaMA", 2023; transformers, modeling_llama.py.
 */

/** Where the tokens of a forward pass stand, and what they may look back on. */
interface Context {
  /** None where the tokens stand alone: then they see each other only, and gradients pass. */
  cache: KVCache | null
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

  /** x [B, T, hidden] → [B, T, hidden]; the tokens' keys and values are added to the cache of this layer, if there is one. */
  forward(x: Tensor, layer: number, { cache, position, cos, sin }: Context): Tensor {
    const { heads, keyValueHeads, headSize } = this.config
    const [B, T] = x.shape
    const q = this.q_proj.forward(x).view([B, T, heads, headSize])
    const k = this.k_proj.forward(x).view([B, T, keyValueHeads, headSize])
    const v = this.v_proj.forward(x).view([B, T, keyValueHeads, headSize])
    const scale = 1 / Math.sqrt(headSize)
    const [turnedQ, turnedK] = [rope(q, cos, sin, position), rope(k, cos, sin, position)]
    let y: Tensor
    if (cache) {
      cacheWrite(turnedK, cache.keys[layer], position)
      cacheWrite(v, cache.values[layer], position)
      y = attention(turnedQ, cache.keys[layer], cache.values[layer], position, scale)
    } else y = attention(turnedQ, transpose(turnedK, 1, 2), transpose(v, 1, 2), 0, scale)
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

export interface ForwardOptions {
  /** Keys and values of earlier tokens; these are added. Without one, the tokens stand alone. */
  cache?: KVCache
  /** Where the tokens stand; then the cache's length is the caller's to keep. Default: after those in the cache. */
  position?: Scalar
  /** Logits of the last token only: [B, 1, V]. */
  lastOnly?: boolean
}

/** Llama with its language-model head: token ids → logits. */
export class LlamaForCausalLM extends Module {
  readonly config: LlamaConfig
  model: LlamaModel
  lm_head: Linear | QLinear
  /** Of the checkpoint it came from; null for a model made in code. */
  tokenizer: Tokenizer | null = null
  /** Tokens that end a text. */
  eosTokenIds: number[]
  /** Where it came from, and the files that belong to it besides the weights. */
  checkpoint: Checkpoint | null = null
  private rotation: { cos: Tensor; sin: Tensor } | undefined

  constructor(config: LlamaConfig, dtype: FloatDType = 'float32') {
    super()
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

  /** An empty cache for `capacity` tokens. */
  createCache(capacity: number, batch = 1): KVCache {
    return new KVCache(this.device, this.config, capacity, batch)
  }

  /**
   * Logits [B, T, V] float32 of ids [B, T] (or [T]) int32.
   * @throws ShapeError if an id given as a number lies outside the vocabulary, or the cache is too small
   */
  forward(ids: Tensor | ArrayLike<number>, options: ForwardOptions = {}): Tensor {
    return scope(() => {
      const tokens = ids instanceof Tensor ? ids : this.idTensor(ids)
      const [B, T] = tokens.shape.length === 2 ? tokens.shape : [1, tokens.shape[0]]
      const cache = options.cache ?? null
      const position = options.position ?? cache?.length ?? 0
      let x = this.model.forward(tokens.view([B, T]), { cache, position, ...this.rotate(cache?.capacity ?? T) })
      if (cache && !options.position) cache.length += T
      if (options.lastOnly && B > 1) throw new ShapeError(`forward: lastOnly takes one sequence; received ${B}`)
      if (options.lastOnly)
        x = x
          .view([T, this.config.hiddenSize])
          .rows(T - 1, T)
          .view([1, 1, this.config.hiddenSize])
      return this.lm_head.forward(this.model.norm.forward(x))
    })
  }

  /** ids [T] as a tensor, checked against the vocabulary. */
  idTensor(ids: ArrayLike<number>): Tensor {
    if (ids.length === 0) throw new ShapeError('forward: needs at least one token; received none')
    for (let i = 0; i < ids.length; i++) {
      if (!Number.isInteger(ids[i]) || ids[i] < 0 || ids[i] >= this.config.vocabularySize) {
        throw new ShapeError(`forward: token ids must lie in 0..${this.config.vocabularySize - 1}; received ${ids[i]} at position ${i}`)
      }
    }
    return Tensor.fromArray(this.device, Int32Array.from(ids), [ids.length], 'int32')
  }

  /** The rotary tables, made anew when a longer cache comes. */
  rotate(positions: number): { cos: Tensor; sin: Tensor } {
    if (this.rotation && this.rotation.cos.size(0) >= positions) return this.rotation
    this.disposeRotation()
    const { headSize, ropeTheta, ropeScaling } = this.config
    this.rotation = keep(ropeTables(this.device, inverseFrequencies(headSize, ropeTheta, ropeScaling), positions))
    return this.rotation
  }

  private disposeRotation(): void {
    this.rotation?.cos.dispose()
    this.rotation?.sin.dispose()
    this.rotation = undefined
  }

  override dispose(): void {
    super.dispose()
    this.disposeRotation()
  }
}
