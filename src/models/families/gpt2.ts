import { aFloatDType, type FloatDType } from '../../core/dtype.ts'
import { ShapeError } from '../../core/errors.ts'
import { check } from '../../core/kinds.ts'
import type { Scalar } from '../../devices/commandList.ts'
import type { Device } from '../../devices/device.ts'
import type { JsonObject } from '../../formats/json.ts'
import { type AttentionCache, withoutCache } from '../../nn/attentionCache.ts'
import { Embedding } from '../../nn/embedding.ts'
import { Conv1D, type QConv1D } from '../../nn/gptConv1D.ts'
import { Linear } from '../../nn/linear.ts'
import { Module } from '../../nn/module.ts'
import { LayerNorm } from '../../nn/normalization.ts'
import type { QEmbedding } from '../../nn/qembedding.ts'
import type { QLinear } from '../../nn/qlinear.ts'
import { add, gelu, relu, split } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { KVCache } from '../caches/kvCache.ts'
import { aConfig, CausalLM, type CausalLMConfig } from '../causalLM.ts'
import type { Family } from './family.ts'
import { positiveField, sizeField, tokenIdsField, type Warn, wordField } from './fields.ts'

/*
 * The GPT-2 architecture, its modules named as in Hugging Face's checkpoints.
 * Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019; transformers,
 * modeling_gpt2.py.
 */

const activationNames = ['gelu_new', 'gelu_pytorch_tanh', 'gelu', 'relu'] as const
type Gpt2Activation = (typeof activationNames)[number]

/** What a GPT-2 checkpoint's config.json says, in this library's names. */
export interface Gpt2Config extends CausalLMConfig {
  intermediateSize: number
  normEpsilon: number
  activation: Gpt2Activation
  /** Whether attention in layer i is scaled by 1 / (i + 1), too. */
  scaleByLayer: boolean
}

/** The config of GPT-2 from its config.json; see `Family.parse`. */
export function parseGpt2Config(json: JsonObject, warn: Warn = () => {}): Gpt2Config {
  const hiddenSize = sizeField(json, 'n_embd')
  const heads = sizeField(json, 'n_head')
  if (hiddenSize % heads !== 0) throw json.error('n_head', `must divide n_embd (${hiddenSize})`)
  if (json.boolean('add_cross_attention', false)) throw json.error('add_cross_attention', 'must be false')
  if (!json.boolean('scale_attn_weights', true)) throw json.error('scale_attn_weights', 'must be true')
  const vocabularySize = sizeField(json, 'vocab_size')
  return {
    hiddenSize,
    intermediateSize: sizeField(json, 'n_inner', 4 * hiddenSize),
    layers: sizeField(json, 'n_layer'),
    heads,
    keyValueHeads: heads,
    headSize: hiddenSize / heads,
    vocabularySize,
    maxPositions: sizeField(json, 'n_positions', 1024),
    normEpsilon: positiveField(json, 'layer_norm_epsilon', 1e-5),
    activation: wordField(json, 'activation_function', activationNames, 'gelu_new'),
    scaleByLayer: json.boolean('scale_attn_by_inverse_layer_idx', false),
    tieWordEmbeddings: json.boolean('tie_word_embeddings', true),
    eosTokenIds: tokenIdsField(json, 'eos_token_id', vocabularySize, warn),
  }
}

const activations: Record<Gpt2Activation, (x: Tensor) => Tensor> = {
  gelu_new: (x) => gelu(x, 'tanh'),
  gelu_pytorch_tanh: (x) => gelu(x, 'tanh'),
  gelu: (x) => gelu(x),
  relu,
}

export class GPT2Attention extends Module {
  c_attn: Conv1D | QConv1D
  c_proj: Conv1D | QConv1D
  private readonly config: Gpt2Config

  constructor(config: Gpt2Config, dtype: FloatDType) {
    super()
    this.config = config
    this.c_attn = new Conv1D(3 * config.hiddenSize, config.hiddenSize, { dtype })
    this.c_proj = new Conv1D(config.hiddenSize, config.hiddenSize, { dtype })
  }

  /**
   * x [B, T, hidden] → [B, T, hidden]; the tokens' keys and values are added to the cache of this layer.
   */
  forward(x: Tensor, layer: number, cache: AttentionCache, position: number | Scalar): Tensor {
    const { heads, headSize, hiddenSize, scaleByLayer } = this.config
    const [B, T] = x.shape
    const [q, k, v] = split(this.c_attn.forward(x), hiddenSize, -1).map((part) =>
      part.view([B, T, heads, headSize]),
    )
    const scale = 1 / Math.sqrt(headSize) / (scaleByLayer ? layer + 1 : 1)
    const y = cache.attend(layer, q, k, v, { position, scale })
    return this.c_proj.forward(y.view([B, T, hiddenSize]))
  }
}

export class GPT2MLP extends Module {
  c_fc: Conv1D | QConv1D
  c_proj: Conv1D | QConv1D
  private readonly activation: Gpt2Activation

  constructor({ hiddenSize, intermediateSize, activation }: Gpt2Config, dtype: FloatDType) {
    super()
    this.c_fc = new Conv1D(intermediateSize, hiddenSize, { dtype })
    this.c_proj = new Conv1D(hiddenSize, intermediateSize, { dtype })
    this.activation = activation
  }

  /** c_proj(gelu(c_fc(x))) */
  forward(x: Tensor): Tensor {
    return this.c_proj.forward(activations[this.activation](this.c_fc.forward(x)))
  }
}

export class GPT2Block extends Module {
  ln_1: LayerNorm
  attn: GPT2Attention
  ln_2: LayerNorm
  mlp: GPT2MLP

  constructor(config: Gpt2Config, dtype: FloatDType) {
    super()
    this.ln_1 = new LayerNorm(config.hiddenSize, { eps: config.normEpsilon, dtype })
    this.attn = new GPT2Attention(config, dtype)
    this.ln_2 = new LayerNorm(config.hiddenSize, { eps: config.normEpsilon, dtype })
    this.mlp = new GPT2MLP(config, dtype)
  }

  forward(x: Tensor, layer: number, cache: AttentionCache, position: number | Scalar): Tensor {
    return scope(() => {
      const attended = add(x, this.attn.forward(this.ln_1.forward(x), layer, cache, position))
      return add(attended, this.mlp.forward(this.ln_2.forward(attended)))
    })
  }
}

export class GPT2Model extends Module {
  /** Of tokens, and of positions. */
  wte: Embedding | QEmbedding
  wpe: Embedding | QEmbedding
  h: GPT2Block[]
  ln_f: LayerNorm

  constructor(config: Gpt2Config, dtype: FloatDType) {
    super()
    this.wte = new Embedding(config.vocabularySize, config.hiddenSize, { dtype })
    this.wpe = new Embedding(config.maxPositions, config.hiddenSize, { dtype })
    this.h = Array.from({ length: config.layers }, () => new GPT2Block(config, dtype))
    this.ln_f = new LayerNorm(config.hiddenSize, { eps: config.normEpsilon, dtype })
  }
}

/**
 * 0, 1, 2 … int32 for each model, the ids of its positions: none of its tensors, and a copy of it makes its
 * own.
 */
const positions = new WeakMap<GPT2LMHeadModel, Tensor>()

/** GPT-2 with its language-model head: token ids → logits. */
export class GPT2LMHeadModel extends CausalLM {
  readonly config: Gpt2Config
  transformer: GPT2Model
  lm_head: Linear | QLinear

  constructor(config: Gpt2Config, dtype: FloatDType = 'float32') {
    super()
    check('GPT2LMHeadModel', 'config', config, aConfig)
    check('GPT2LMHeadModel', 'dtype', dtype, aFloatDType)
    this.config = config
    this.eosTokenIds = config.eosTokenIds
    this.transformer = new GPT2Model(config, dtype)
    this.lm_head = new Linear(config.hiddenSize, config.vocabularySize, { bias: false, dtype })
    const { weight } = this.transformer.wte
    if (config.tieWordEmbeddings && weight instanceof Tensor) this.lm_head.weight = weight
  }

  get device(): Device {
    return this.transformer.wpe.weight.device
  }

  get tokenEmbedding(): Embedding | QEmbedding {
    return this.transformer.wte
  }

  /** @throws ShapeError if the model has fewer positions */
  override prepare(capacity: number): void {
    const { maxPositions } = this.config
    if (capacity > maxPositions)
      throw new ShapeError(`forward: GPT-2 has ${maxPositions} positions; received ${capacity} tokens`)
    if (positions.has(this)) return
    const ids = Int32Array.from({ length: maxPositions }, (_, i) => i)
    positions.set(this, keep(Tensor.fromArray(this.device, ids)))
  }

  protected override hidden(ids: Tensor, cache: KVCache | null, position: number | Scalar): Tensor {
    const { wte, wpe, h } = this.transformer
    const [, T] = ids.shape
    let x = add(wte.forward(ids), wpe.forward(this.positionIds(T, position)))
    for (const [layer, block] of h.entries()) x = block.forward(x, layer, cache ?? withoutCache, position)
    return x
  }

  /** position … position + T − 1, copied on the device, so that a kept list reads its scalar anew. */
  private positionIds(T: number, position: number | Scalar): Tensor {
    const ids = positions.get(this)
    if (!ids) throw new ShapeError('forward: prepare must run first')
    const y = Tensor.empty(this.device, [T], 'int32')
    const sizes = { n0: 1, n1: 1, n2: 1, n3: 1, n4: T }
    const from = { xOffset: position, x0: 0, x1: 0, x2: 0, x3: 0, x4: 1 }
    const to = { yOffset: 0, y0: 0, y1: 0, y2: 0, y3: 0, y4: 1 }
    this.device.call('stridedCopy', { x: ids, y, bytes: 4, ...sizes, ...from, ...to })
    return y
  }

  protected override normalize(x: Tensor): Tensor {
    return this.transformer.ln_f.forward(x)
  }

  override dispose(): void {
    super.dispose()
    positions.get(this)?.dispose()
    positions.delete(this)
  }
}

export const gpt2: Family<Gpt2Config> = {
  architectures: ['GPT2LMHeadModel'],
  modelTypes: ['gpt2'],
  parse: parseGpt2Config,
  build: (config) => new GPT2LMHeadModel(config),
  names: {
    // OpenAI's own checkpoints hold the transformer alone.
    aliases: (path) => [path.replace(/^transformer\./, '')],
    // The causal mask, which old checkpoints carry.
    extras: /\.attn\.(masked_)?bias$/,
  },
}
