import type { DType } from '../../core/dtype.ts'
import { attention, cacheWrite } from '../../tensor/ops/index.ts'
import { placeBehind } from '../../tensor/ops/position.ts'
import type { CacheKind } from './cacheKind.ts'
import { attendCached, windowLayer } from './codeCache.ts'

/** Where there are no codes, this says so little. */
const noCodes = { bits: 8, groupTokens: 0 } as const

/**
 * Tokens rounded to a float dtype: keys and values [B, keyValueHeads, capacity, headSize]. A layer whose
 * queries see a window holds no more than that.
 */
export function floatCache(dtype: DType): CacheKind<never, 'tokens' | 'codes' | 'scale' | 'recent'> {
  return {
    layer(shape) {
      const { batch, capacity, keyValueHeads, headSize, window } = shape
      if (window !== undefined) return windowLayer(shape, dtype, noCodes)
      const tokens = { shape: [batch, keyValueHeads, capacity, headSize], dtype }
      return { keys: { tokens }, values: { tokens } }
    },
    attend({ keys, values }, q, k, v, options) {
      if (!keys.tokens || !values.tokens) {
        const layer = { keys, values } as Parameters<typeof attendCached>[0]
        return attendCached(layer, [q, k, v], options, noCodes)
      }
      cacheWrite(k, keys.tokens, options.position)
      cacheWrite(v, values.tokens, options.position)
      const position = placeBehind(options.position, k.size(1) - q.size(1))
      return attention(q, keys.tokens, values.tokens, { ...options, position })
    },
  }
}
