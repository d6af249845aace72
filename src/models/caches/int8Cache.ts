import type { Device } from '../../devices/device.ts'
import type { AttendOptions } from '../../nn/attentionCache.ts'
import { attentionInt8, cacheQuantize, type Int8Tokens } from '../../tensor/ops/attentionInt8.ts'
import { cacheWrite } from '../../tensor/ops/index.ts'
import { keep } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { type CacheShape, type CacheSizes, KVCache } from './kvCache.ts'

/** Values of a head that share a scale, or fewer where a head has fewer. */
const groupSize = 64

/**
 * Old tokens as int8, the last ones in full.
 *
 * Each token is quantized once, when it comes, from its own floats: scale = max |x| / 127 for each group of
 * 64 values of a head, code = x / scale rounded half to even. The query at position p sees the tokens p −
 * residual + 1 … p in full and those before as code · scale. So what a token sees depends on its position
 * alone, not on how the text was cut into calls, which generation does by the clock.
 *
 * transformers' QuantizedCache has the same group size and the same number of tokens in full at most; it lets
 * them grow to 128 and then quantizes all at once, those quantized before once more, and shows a call's own
 * tokens in full.
 */
export class Int8Cache extends KVCache {
  private readonly residual: number
  private readonly layers: { keys: Int8Tokens; values: Int8Tokens }[]

  constructor(device: Device, sizes: CacheSizes, shape: CacheShape) {
    super(shape)
    const { batch, capacity } = shape
    const { keyValueHeads: heads, headSize } = sizes
    this.residual = Math.min(shape.residual, capacity)
    // The last tokens are never seen as codes.
    const coded = capacity - this.residual
    const one = (): Int8Tokens =>
      keep({
        codes: Tensor.empty(device, [batch, heads, coded, headSize], 'int8'),
        scale: Tensor.empty(device, [batch, heads, coded, Math.ceil(headSize / groupSize)]),
        recent: Tensor.empty(device, [batch, heads, this.residual, headSize]),
      })
    this.layers = Array.from({ length: sizes.layers }, () => ({ keys: one(), values: one() }))
  }

  protected override get tensors(): readonly Tensor[] {
    return this.layers
      .flatMap(({ keys, values }) => [keys, values])
      .flatMap(({ codes, scale, recent }) => [codes, scale, recent])
  }

  override attend(layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor {
    const { keys, values } = this.layers[layer]
    const { position } = options
    cacheQuantize(k, keys, position)
    cacheQuantize(v, values, position)
    const y = attentionInt8(q, k, v, keys, values, options)
    // After the queries have seen the tokens whose places these take.
    cacheWrite(k, keys.recent, position, { ring: true })
    cacheWrite(v, values.recent, position, { ring: true })
    return y
  }
}
