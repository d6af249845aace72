import type { Device } from '../../devices/device.ts'
import type { AttendOptions } from '../../nn/attentionCache.ts'
import { attention, cacheWrite } from '../../tensor/ops/index.ts'
import { keep } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { type CacheShape, type CacheSizes, KVCache } from './kvCache.ts'

/** All tokens in full: per layer keys and values [B, keyValueHeads, capacity, headSize] float32. */
export class FloatCache extends KVCache {
  private readonly layers: { keys: Tensor; values: Tensor }[]

  constructor(device: Device, sizes: CacheSizes, shape: CacheShape) {
    super(shape)
    const one = () =>
      keep(Tensor.empty(device, [shape.batch, sizes.keyValueHeads, shape.capacity, sizes.headSize]))
    this.layers = Array.from({ length: sizes.layers }, () => ({ keys: one(), values: one() }))
  }

  protected override get tensors(): readonly Tensor[] {
    return this.layers.flatMap(({ keys, values }) => [keys, values])
  }

  override attend(layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor {
    const { keys, values } = this.layers[layer]
    cacheWrite(k, keys, options.position)
    cacheWrite(v, values, options.position)
    return attention(q, keys, values, options)
  }
}
