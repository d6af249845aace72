import type { AttendOptions, AttentionCache } from '../../nn/attentionCache.ts'
import type { Tensor } from '../../tensor/tensor.ts'

/** What a cache must know of a model. */
export interface CacheSizes {
  layers: number
  keyValueHeads: number
  headSize: number
}

/** How many sequences a cache holds, and what it keeps of their tokens. */
export interface CacheShape {
  /** Tokens it can hold. */
  capacity: number
  batch: number
  /** Tokens of which keys and values stay in full, where others do not. */
  residual: number
}

/**
 * Keys and values of the tokens seen so far. The base of all caches, which differ in what they keep of a
 * token and how they attend to it.
 */
export abstract class KVCache implements AttentionCache {
  readonly batch: number
  /** Tokens it can hold. */
  readonly capacity: number
  /** Tokens it holds. */
  length = 0

  constructor({ capacity, batch }: CacheShape) {
    this.batch = batch
    this.capacity = capacity
  }

  abstract attend(layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor

  /** All that it holds. */
  protected abstract get tensors(): readonly Tensor[]

  /** Bytes of keys and values of all tokens that it can hold. */
  get bytes(): number {
    return this.tensors.reduce((sum, { byteLength }) => sum + byteLength, 0)
  }

  dispose(): void {
    for (const tensor of this.tensors) tensor.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
