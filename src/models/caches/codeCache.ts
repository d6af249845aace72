import {
  attentionCached,
  type CodeFormat,
  cacheQuantize,
  codesFor,
} from '../../tensor/ops/attentionCached.ts'
import { cacheWrite, cast } from '../../tensor/ops/index.ts'
import type { CacheKind, HeldTensor } from './kvCache.ts'

/** Tokens that share the scales of their keys, value by value. */
const groupTokens = 64

/**
 * Old tokens as codes, the last `residual` ones in full, as float16.
 *
 * Each token is quantized once, from its own values: a scale, of 4 bits also a shift, for each 64 values of a
 * head. Of 4 bits keys have them for each value over 64 tokens instead: some values of keys are large in all
 * tokens, and would set the steps of the others. The query at position p sees the tokens p − residual + 1 … p
 * in full and those before as codes. So what a token sees depends on its position alone, not on how the text
 * was cut into calls, which generation does by the clock.
 *
 * transformers' QuantizedCache has the same group size and the same number of tokens in full at most; it lets
 * them grow to 128 and then quantizes all at once, those quantized before once more, and shows a call's own
 * tokens in full.
 * Source: Liu et al., "KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache", 2024.
 */
export function codeCache(bits: CodeFormat['bits']): CacheKind<'codes' | 'scale' | 'recent', 'shift'> {
  const formatOf = (residual: number): CodeFormat => ({
    bits,
    groupTokens: bits === 4 && residual >= groupTokens ? groupTokens : 0,
  })
  return {
    layer({ batch, capacity, keyValueHeads: heads, headSize, ...shape }) {
      const residual = Math.min(shape.residual, capacity)
      const recent: HeldTensor = { shape: [batch, heads, residual, headSize], dtype: 'float16' }
      // The last tokens are never seen as codes.
      const kept = (format: CodeFormat) => ({
        ...codesFor(batch, heads, capacity - residual, headSize, format),
        recent,
      })
      const format = formatOf(residual)
      return { keys: kept(format), values: kept({ ...format, groupTokens: 0 }) }
    },
    attend({ keys, values }, q, k, v, options) {
      const { position } = options
      const format = formatOf(keys.recent.size(2))
      const [ownK, ownV] = [k, v].map((x) => cast(x, 'float16'))
      cacheQuantize(ownK, keys, position, format)
      cacheQuantize(ownV, values, position, { ...format, groupTokens: 0 })
      const y = attentionCached(q, ownK, ownV, keys, values, format, options)
      // After the queries have seen the tokens whose places these take.
      cacheWrite(ownK, keys.recent, position, { ring: true })
      cacheWrite(ownV, values.recent, position, { ring: true })
      return y
    },
  }
}
