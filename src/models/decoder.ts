import { ShapeError } from '../core/errors.ts'
import type { Device } from '../devices/device.ts'
import type { Alibi } from '../nn/alibi.ts'
import type { DecoderContext } from '../nn/attention.ts'
import { Block, type BlockNames } from '../nn/block.ts'
import type { DecoderLayerLike } from '../nn/decoderLayer.ts'
import type { EmbeddingLike, LinearLike, NormLike } from '../nn/layerLike.ts'
import type { RotaryEmbedding } from '../nn/rotary.ts'
import { add, mul, valuesAt } from '../tensor/ops/index.ts'
import { keep, release } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/** What a decoder consists of; the order in which they are given is that of its paths. */
export interface DecoderParts {
  embedding: EmbeddingLike
  /** From the size of the embedding to that of the layers, where they differ. */
  inputProjection?: LinearLike
  /** A vector for each position, added to that of the token. */
  positions?: EmbeddingLike
  /** Before the first layer. */
  embeddingNorm?: NormLike
  layers: readonly DecoderLayerLike[]
  /** After the last layer. */
  norm?: NormLike
  /** After the last norm: from the size of the layers to that of the embedding. */
  outputProjection?: LinearLike
  /** Turns the queries and keys of the layers. */
  rotary?: RotaryEmbedding
  /** Does so in the layers that `layerRotary` names. */
  localRotary?: RotaryEmbedding
  /** Biases the scores of all layers by the positions of their keys. */
  alibi?: Alibi
}

/** What a decoder does beside its parts. */
export interface DecoderOptions {
  /** Multiplies the embedding of tokens; default 1. */
  embeddingScale?: number
  /** What turns the queries and keys of each layer, null: nothing; default `rotary` in all. */
  layerRotary?: readonly ('rotary' | 'localRotary' | null)[]
  /** Rows of the table of positions before that of the first; default 0. */
  positionOffset?: number
}

/** Layers over the embedding of tokens: ids → what a head takes. */
export class Decoder extends Block<keyof DecoderParts> {
  declare readonly embedding: EmbeddingLike
  declare readonly inputProjection?: LinearLike
  declare readonly positions?: EmbeddingLike
  declare readonly embeddingNorm?: NormLike
  declare readonly layers: readonly DecoderLayerLike[]
  declare readonly norm?: NormLike
  declare readonly outputProjection?: LinearLike
  declare readonly rotary?: RotaryEmbedding
  declare readonly localRotary?: RotaryEmbedding
  declare readonly alibi?: Alibi
  private readonly options: DecoderOptions
  /** Rows of the table of positions, int32, one for each position. */
  private positionIds: Tensor | null = null

  constructor(parts: DecoderParts, names: BlockNames<keyof DecoderParts>, options: DecoderOptions = {}) {
    super(names)
    Object.assign(this, parts)
    this.options = options
  }

  override get nonPersistentNames(): readonly string[] {
    return ['positionIds']
  }

  get device(): Device {
    return this.embedding.weight.device
  }

  /**
   * Makes the tables that forward passes over `capacity` tokens need.
   * @throws ShapeError if the model has fewer positions
   */
  prepare(capacity: number): void {
    this.rotary?.prepare(this.device, capacity)
    this.localRotary?.prepare(this.device, capacity)
    this.alibi?.prepare(this.device, capacity)
    if (!this.positions) return
    const { positionOffset = 0 } = this.options
    const count = this.positions.weight.shape[0] - positionOffset
    if (capacity > count)
      throw new ShapeError(`forward: the model has ${count} positions; received ${capacity} tokens`)
    const ids = () => Int32Array.from({ length: count }, (_, i) => positionOffset + i)
    this.positionIds ??= keep(Tensor.fromArray(this.device, ids()))
  }

  /** ids [B, T] → [B, last, hidden], before the last norm. */
  forward(ids: Tensor, { last, ...context }: Pick<DecoderContext, 'cache' | 'position' | 'last'>): Tensor {
    const { layerRotary } = this.options
    const bias = this.alibi?.bias
    let x = this.embedded(ids, context)
    for (const [i, layer] of this.layers.entries()) {
      const name = layerRotary ? layerRotary[i] : 'rotary'
      const given = i < this.layers.length - 1 ? undefined : last
      const y = layer.forward(x, { ...context, last: given, rotary: name ? this[name] : undefined, bias })
      // A layer writes where the one before the last did: in the caches, and without memory for each.
      if (y !== x) release(x)
      x = y
    }
    return x
  }

  /** x [B, T, hidden] after the last layer → what the head takes. */
  normalize(x: Tensor): Tensor {
    const normed = this.norm ? this.norm.forward(x) : x
    return this.outputProjection ? this.outputProjection.forward(normed) : normed
  }

  /** ids [B, T] → [B, T, hidden], what the first layer takes. */
  private embedded(ids: Tensor, { position }: Pick<DecoderContext, 'position'>): Tensor {
    const { inputProjection, positions, embeddingNorm } = this
    const { embeddingScale = 1 } = this.options
    let x = this.embedding.forward(ids)
    if (embeddingScale !== 1) x = mul(x, embeddingScale)
    if (inputProjection) x = inputProjection.forward(x)
    if (positions) {
      const places = valuesAt(this.positionIds as Tensor, position, ids.size(1))
      x = add(x, positions.forward(places))
    }
    return embeddingNorm ? embeddingNorm.forward(x) : x
  }
}
