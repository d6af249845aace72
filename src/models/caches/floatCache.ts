import { attention, cacheWrite } from '../../tensor/ops/index.ts'
import type { CacheKind } from './kvCache.ts'

/** All tokens in full: keys and values [B, keyValueHeads, capacity, headSize] float32. */
export const floatCache: CacheKind<'tokens'> = {
  layer({ batch, capacity, keyValueHeads, headSize }) {
    const tokens = { shape: [batch, keyValueHeads, capacity, headSize], dtype: 'float32' } as const
    return { keys: { tokens }, values: { tokens } }
  },
  attend({ keys, values }, q, k, v, options) {
    cacheWrite(k, keys.tokens, options.position)
    cacheWrite(v, values.tokens, options.position)
    return attention(q, keys.tokens, values.tokens, options)
  },
}
