import { attentionInt8, cacheQuantize } from '../../tensor/ops/attentionInt8.ts'
import { cacheWrite } from '../../tensor/ops/index.ts'
import type { CacheKind } from './kvCache.ts'

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
export const int8Cache: CacheKind<'codes' | 'scale' | 'recent'> = {
  layer({ batch, capacity, keyValueHeads: heads, headSize, ...shape }) {
    const residual = Math.min(shape.residual, capacity)
    // The last tokens are never seen as codes.
    const coded = capacity - residual
    const one = {
      codes: { shape: [batch, heads, coded, headSize], dtype: 'int8' },
      scale: { shape: [batch, heads, coded, Math.ceil(headSize / groupSize)], dtype: 'float32' },
      recent: { shape: [batch, heads, residual, headSize], dtype: 'float32' },
    } as const
    return { keys: one, values: one }
  },
  attend({ keys, values }, q, k, v, options) {
    const { position } = options
    cacheQuantize(k, keys, position)
    cacheQuantize(v, values, position)
    const y = attentionInt8(q, k, v, keys, values, options)
    // After the queries have seen the tokens whose places these take.
    cacheWrite(k, keys.recent, position, { ring: true })
    cacheWrite(v, values.recent, position, { ring: true })
    return y
  },
}
