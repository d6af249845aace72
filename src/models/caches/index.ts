import { DeviceError } from '../../core/errors.ts'
import { type Kind, oneOf, wholeNumber } from '../../core/kinds.ts'
import type { OptionKinds } from '../../core/options.ts'
import type { Device } from '../../devices/device.ts'
import { type CacheKind, cacheBytes, type LayerSizes } from './cacheKind.ts'
import { codeCache } from './codeCache.ts'
import { floatCache } from './floatCache.ts'
import { KVCache } from './kvCache.ts'

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
   * What keys and values are kept as; default float32. float16 and float8 round them; int8 and int4 keep the
   * last tokens as float16, those before as codes in groups of 64.
   */
  kv?: CacheType
  /** Sequences; default 1. */
  batch?: number
  /** Tokens that a cache in int8 or int4 keeps in full; default 128. */
  residual?: number
}

export const cacheKinds: OptionKinds<CacheOptions> = {
  kv: aCacheType,
  batch: wholeNumber(1),
  residual: wholeNumber(0),
}

/** Tokens that a cache in few bits keeps in full. */
export const defaultResidual = 128

/**
 * A cache of this kind, empty.
 * @throws DeviceError if the device has no room for it
 */
export function makeCache(
  device: Device,
  layers: readonly LayerSizes[],
  capacity: number,
  { kv = 'float32', batch = 1, residual = defaultResidual }: CacheOptions,
): KVCache {
  const shape = { capacity, batch, residual }
  const [needed, { availableBytes }] = [cacheBytes(caches[kv], layers, shape), device]
  if (needed <= availableBytes) return KVCache.make(caches[kv], device, layers, shape)
  const tokens = batch === 1 ? `${capacity} tokens` : `${batch} × ${capacity} tokens`
  const numbers = `${Math.ceil(needed / 1e6)} MB; there are ${Math.floor(availableBytes / 1e6)} MB on ${device.name}`
  throw new DeviceError(
    `createCache: keys and values of ${tokens} in ${kv} need ${numbers}, so take fewer tokens or fewer bits (kv)`,
  )
}
