import type { CacheType } from './caches/index.ts'
import type { KVCache } from './caches/kvCache.ts'
import type { CausalLM } from './causalLM.ts'

/** A cache, until it is disposed. */
export interface LentCache {
  readonly cache: KVCache
  [Symbol.dispose](): void
}

/** A cache of fixed capacity that a model's generations take one after the other; made when it is first used. */
class KeptCache {
  readonly capacity: number
  private kept: { cache: KVCache; kv: CacheType } | null = null
  private lent = false

  constructor(capacity: number) {
    this.capacity = capacity
  }

  /** The cache, empty; another one where a generation has it that goes on at the same time. */
  lend(model: CausalLM, kv: CacheType): LentCache {
    if (this.lent) return owned(model, this.capacity, kv)
    if (this.kept?.kv !== kv) this.dispose()
    this.kept ??= { cache: model.createCache(this.capacity, { kv }), kv }
    const { cache } = this.kept
    cache.length = 0
    this.lent = true
    return {
      cache,
      [Symbol.dispose]: () => {
        this.lent = false
      },
    }
  }

  dispose(): void {
    this.kept?.cache.dispose()
    this.kept = null
  }
}

function owned(model: CausalLM, capacity: number, kv: CacheType): LentCache {
  const cache = model.createCache(capacity, { kv })
  return { cache, [Symbol.dispose]: () => cache.dispose() }
}

/** Of the models that have one; no part of them, which a copy would share. */
const keptCaches = new WeakMap<CausalLM, KeptCache>()

/** From now on generations of the model have room for so many tokens, which is made once. */
export function keepCache(model: CausalLM, capacity: number): void {
  disposeKeptCache(model)
  keptCaches.set(model, new KeptCache(capacity))
}

/** The most tokens that a generation of the model may have; undefined where nothing but its context bounds it. */
export function keptCapacity(model: CausalLM): number | undefined {
  return keptCaches.get(model)?.capacity
}

/** A cache for one generation: the model's, if it keeps one, else a new one for `capacity` tokens. */
export function lendCache(model: CausalLM, capacity: number, kv: CacheType): LentCache {
  return keptCaches.get(model)?.lend(model, kv) ?? owned(model, capacity, kv)
}

/** Gives the memory back of what a model keeps. */
export function disposeKeptCache(model: CausalLM): void {
  keptCaches.get(model)?.dispose()
}
