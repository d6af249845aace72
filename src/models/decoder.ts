import { ShapeError } from '../core/errors.ts'
import type { Device } from '../devices/device.ts'
import type { DecoderContext } from '../nn/attention.ts'
import { Block, type BlockNames } from '../nn/block.ts'
import type { DecoderLayer } from '../nn/decoderLayer.ts'
import type { EmbeddingLike, NormLike } from '../nn/layerLike.ts'
import type { RotaryEmbedding } from '../nn/rotary.ts'
import { add, valuesAt } from '../tensor/ops/index.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/** What a decoder consists of; the order in which they are given is that of its paths. */
export interface DecoderParts {
  embedding: EmbeddingLike
  /** A vector for each position, added to that of the token. */
  positions?: EmbeddingLike
  layers: readonly DecoderLayer[]
  /** After the last layer. */
  norm: NormLike
  /** Turns the queries and keys of all layers. */
  rotary?: RotaryEmbedding
}

/** Layers over the embedding of tokens: ids → what a head takes. */
export class Decoder extends Block<keyof DecoderParts> {
  declare readonly embedding: EmbeddingLike
  declare readonly positions?: EmbeddingLike
  declare readonly layers: readonly DecoderLayer[]
  declare readonly norm: NormLike
  declare readonly rotary?: RotaryEmbedding
  /** 0, 1, 2 … int32, as many as there are positions. */
  private positionIds: Tensor | null = null

  constructor(parts: DecoderParts, names: BlockNames<keyof DecoderParts>) {
    super(names)
    Object.assign(this, parts)
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
    if (!this.positions) return
    const [count] = this.positions.weight.shape
    if (capacity > count)
      throw new ShapeError(`forward: the model has ${count} positions; received ${capacity} tokens`)
    const ids = () => Int32Array.from({ length: count }, (_, i) => i)
    this.positionIds ??= keep(Tensor.fromArray(this.device, ids()))
  }

  /** ids [B, T] → [B, T, hidden], before the last norm. */
  forward(ids: Tensor, context: Omit<DecoderContext, 'rotary'>): Tensor {
    const { positions, rotary } = this
    let x = this.embedding.forward(ids)
    if (positions) {
      const places = valuesAt(this.positionIds as Tensor, context.position, ids.size(1))
      x = add(x, positions.forward(places))
    }
    for (const layer of this.layers) x = layer.forward(x, { ...context, rotary })
    return x
  }
}
