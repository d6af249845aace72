import { type Kind, oneOf, wholeNumber } from '../../core/kinds.ts'
import type { OptionKinds } from '../../core/options.ts'
import type { Device } from '../../devices/device.ts'
import { codeCache } from './codeCache.ts'
import { floatCache } from './floatCache.ts'
import { type CacheKind, type CacheSizes, KVCache } from './kvCache.ts'

/** What keys and values are kept as. */
export type CacheType = 'float32' | 'float16' | 'float8' | 'int8' | 'int4'

/** The caches that there are, by what they keep keys and values as. */
export const caches: Readonly<Record<CacheType, CacheKind>> = {
  float32: floatCache('float32'),
  float16: floatCache('float16'),
  float8: floatCache('float8_e4m3fn'),
  int8: codeCache(8),
  int4: codeCache(4),
}

/** The name of a cache. */
export const aCacheType: Kind = oneOf(...Object.keys(caches))

/** What a cache keeps. */
export interface CacheOptions {
  /**
   * What keys and values are kept as; default float32. int8: in groups of 64 values, the last tokens in full.
   */
  kv?: CacheType
  /** Sequences; default 1. */
  batch?: number
  /** Tokens that a cache in int8 keeps in full; default 128. */
  residual?: number
}

export const cacheKinds: OptionKinds<CacheOptions> = {
  kv: aCacheType,
  batch: wholeNumber(1),
  residual: wholeNumber(0),
}

/** A cache of this kind, empty. */
export function makeCache(
  device: Device,
  { layers, keyValueHeads, headSize }: CacheSizes,
  capacity: number,
  { kv = 'float32', batch = 1, residual = 128 }: CacheOptions,
): KVCache {
  const sizes = { layers, keyValueHeads, headSize }
  return KVCache.make(caches[kv], device, sizes, { capacity, batch, residual })
}
