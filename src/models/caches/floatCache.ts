import type { DType } from '../../core/dtype.ts'
import { attention, cacheWrite } from '../../tensor/ops/index.ts'
import type { CacheKind } from './kvCache.ts'

/** All tokens: keys and values [B, keyValueHeads, capacity, headSize], rounded to a float dtype. */
export function floatCache(dtype: DType): CacheKind<'tokens'> {
  return {
    layer({ batch, capacity, keyValueHeads, headSize }) {
      const tokens = { shape: [batch, keyValueHeads, capacity, headSize], dtype }
      return { keys: { tokens }, values: { tokens } }
    },
    attend({ keys, values }, q, k, v, options) {
      cacheWrite(k, keys.tokens, options.position)
      cacheWrite(v, values.tokens, options.position)
      return attention(q, keys.tokens, values.tokens, options)
    },
  }
}
