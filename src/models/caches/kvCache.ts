import type { Device } from '../../devices/device.ts'
import type { AttendOptions, AttentionCache } from '../../nn/attentionCache.ts'
import { attention, cacheWrite } from '../../tensor/ops/index.ts'
import { keep } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'

/** What a cache must know of a model. */
export interface CacheSizes {
  layers: number
  keyValueHeads: number
  headSize: number
}

/**
 * Keys and values of the tokens seen so far: per layer two tensors [B, keyValueHeads, capacity, headSize]
 * float32. The base of all caches, which differ in what they keep of a token and how they attend to it.
 */
export class KVCache implements AttentionCache {
  readonly batch: number
  /** Tokens it can hold. */
  readonly capacity: number
  /** Tokens it holds. */
  length = 0
  private readonly layers: { keys: Tensor; values: Tensor }[]

  constructor(device: Device, sizes: CacheSizes, capacity: number, batch = 1) {
    this.batch = batch
    this.capacity = capacity
    const shape = [batch, sizes.keyValueHeads, capacity, sizes.headSize]
    this.layers = Array.from({ length: sizes.layers }, () => ({
      keys: keep(Tensor.empty(device, shape)),
      values: keep(Tensor.empty(device, shape)),
    }))
  }

  attend(layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor {
    const { keys, values } = this.layers[layer]
    cacheWrite(k, keys, options.position)
    cacheWrite(v, values, options.position)
    return attention(q, keys, values, options)
  }

  dispose(): void {
    for (const { keys, values } of this.layers) {
      keys.dispose()
      values.dispose()
    }
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
