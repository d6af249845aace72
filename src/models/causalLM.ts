import { ShapeError } from '../core/errors.ts'
import {
  aBoolean,
  aList,
  check,
  either,
  instanceOf,
  isObject,
  type Kind,
  wholeNumber,
} from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { Scalar } from '../devices/commandList.ts'
import { Attention, lastTokens } from '../nn/attention.ts'
import type { EmbeddingLike, LinearLike } from '../nn/layerLike.ts'
import { concat, type Position, slice } from '../tensor/ops/index.ts'
import { scope } from '../tensor/scope.ts'
import { aTensor, Tensor } from '../tensor/tensor.ts'
import type { LayerSizes } from './caches/cacheKind.ts'
import { type CacheOptions, cacheKinds, makeCache } from './caches/index.ts'
import { aCache, type KVCache } from './caches/kvCache.ts'
import { disposeKeptCache, keptCapacity } from './keptCache.ts'
import { Pretrained } from './pretrained.ts'

/** What is the same in every architecture's config. */
export interface CausalLMConfig {
  hiddenSize: number
  layers: number
  heads: number
  keyValueHeads: number
  headSize: number
  vocabularySize: number
  /** Positions that the model was trained for. */
  maxPositions: number
  tieWordEmbeddings: boolean
  eosTokenIds: number[]
}

/** A model's config; checkpoints' are checked where they are read. */
export const aConfig: Kind = {
  must: 'be a config with hiddenSize, layers, heads …',
  holds: (value) => isObject(value) && 'hiddenSize' in value,
}

/** What a forward pass of a language model may be told. */
export interface ForwardOptions {
  /** Keys and values of earlier tokens; these are added. Without one, the tokens stand alone. */
  cache?: KVCache
  /**
   * Where the tokens stand: a scalar, or [B] int32, the place of the first token of each sequence. A list that
   * is kept reads both anew each time it runs; then the cache's lengths are the caller's to keep. A place
   * below 0 leaves a sequence out. Default: each sequence goes on after its tokens in the cache.
   */
  position?: Scalar | Tensor
  /** Logits of the last token only, [1, 1, V]: with a cache the last layer computes no others either. */
  lastOnly?: boolean
}

const forwardKinds: OptionKinds<ForwardOptions> = {
  cache: aCache,
  position: either(
    'be a scalar of a kept list, or a tensor of places',
    instanceOf(Scalar, ''),
    instanceOf(Tensor, ''),
  ),
  lastOnly: aBoolean,
}
const someIds = either('be a tensor or a list of token ids', aTensor, aList)

/**
 * A language model that sees the tokens before the one it guesses: token ids → logits. The base of the
 * architectures.
 */
export abstract class CausalLM extends Pretrained {
  abstract override readonly config: CausalLMConfig
  abstract lm_head: LinearLike
  /** Tokens that end a text. */
  eosTokenIds: number[] = []

  /** The embedding of tokens, whose weight the head may share. */
  abstract get tokenEmbedding(): EmbeddingLike

  /**
   * ids [B, T] at `position` → [B, T, hidden], before the last norm, or of the `last` tokens alone; keys and
   * values of all are added to the cache. Without one the tokens see each other only, and gradients pass.
   */
  protected abstract hidden(ids: Tensor, cache: KVCache | null, position: Position, last?: number): Tensor

  /** The last norm. */
  protected abstract normalize(x: Tensor): Tensor

  /** x [B, T, hidden] after the last norm → logits [B, T, V]. */
  protected head(x: Tensor): Tensor {
    return this.lm_head.forward(x)
  }

  /**
   * Makes what forward passes over a cache of `capacity` tokens need besides the weights: tables that the
   * host writes.
   */
  abstract prepare(capacity: number): void

  /** With whether head and embedding are one tensor, and the dtype of the float weights. */
  override savedConfig(): Record<string, unknown> {
    const config = super.savedConfig()
    const { weight } = this.tokenEmbedding
    const dtype = 'dtype' in config ? 'dtype' : 'torch_dtype'
    return { ...config, tie_word_embeddings: this.lm_head.weight === weight, [dtype]: weight.dtype }
  }

  /** The most tokens of a prompt and its text, as `fuse` was told; undefined where only the context bounds them. */
  get fuseMaxSeqLen(): number | undefined {
    return keptCapacity(this)
  }

  /** With the cache that it keeps, if it does. */
  override dispose(): void {
    disposeKeptCache(this)
    super.dispose()
  }

  /** What each layer asks of a cache. */
  get cacheLayers(): LayerSizes[] {
    const { layers, keyValueHeads, headSize } = this.config
    const sizes: LayerSizes[] = Array.from({ length: layers }, () => ({ keyValueHeads, headSize }))
    for (const [, module] of this.namedModules()) {
      if (!(module instanceof Attention)) continue
      const { layer, keyValueHeads, headSize, window } = module.options
      sizes[layer] = { keyValueHeads, headSize, window }
    }
    return sizes
  }

  /**
   * An empty cache for `capacity` tokens.
   * @throws DeviceError if the device has no room for it
   */
  createCache(capacity: number, options: CacheOptions = {}): KVCache {
    check('createCache', 'capacity', capacity, wholeNumber(1))
    checkOptions('createCache', options, cacheKinds)
    return makeCache(this.device, this.cacheLayers, capacity, options)
  }

  /**
   * Logits [B, T, V] float32 of ids [B, T] (or [T]) int32.
   * @throws ShapeError if an id given as a number lies outside the vocabulary, or the cache is too small
   */
  forward(ids: Tensor | ArrayLike<number>, options: ForwardOptions = {}): Tensor {
    checkOptions('forward', options, forwardKinds)
    return scope(() => {
      const x = this.advance(ids, options)
      if (options.lastOnly && x.size(0) > 1)
        throw new ShapeError(`forward: lastOnly takes one sequence; received ${x.size(0)}`)
      return this.head(this.normalize(lastTokens(x, options.lastOnly ? 1 : undefined)))
    })
  }

  /** Adds the keys and values of ids [B, T] (or [T]) to the cache as forward does, and computes no logits. */
  extend(ids: Tensor | ArrayLike<number>, cache: KVCache): void {
    scope(() => {
      this.advance(ids, { cache, lastOnly: true })
    })
  }

  /**
   * ids → [B, T, hidden], what the head takes before the last norm. Where only the last token's is asked for,
   * the last layer computes no others if it can: gradients pass without a cache, and there it does not.
   */
  private advance(ids: Tensor | ArrayLike<number>, options: ForwardOptions): Tensor {
    check('forward', 'ids', ids, someIds)
    const tokens = ids instanceof Tensor ? ids : this.idTensor(ids)
    const [B, T] = tokens.shape.length === 2 ? tokens.shape : [1, tokens.shape[0]]
    const cache = options.cache ?? null
    this.prepare(cache?.capacity ?? T)
    if (cache && cache.batch !== B)
      throw new ShapeError(`forward: the cache holds ${cache.batch} sequences; received ids of ${B}`)
    const position = options.position ?? cache?.next(T) ?? 0
    const { lastOnly } = options
    if (cache && T > cache.longestCall)
      return this.advanceInParts(tokens.view([B, T]), ids, { cache, lastOnly })
    const last = lastOnly && cache && typeof position === 'number' ? 1 : undefined
    const x = this.hidden(tokens.view([B, T]), cache, position, last)
    if (!options.position) cache?.added(T, this, ids instanceof Tensor ? [] : ids)
    return x
  }

  /** The same in several calls, for a cache that takes no more tokens at once. */
  private advanceInParts(
    tokens: Tensor,
    ids: Tensor | ArrayLike<number>,
    options: Pick<ForwardOptions, 'lastOnly'> & { cache: KVCache },
  ): Tensor {
    const [known, most] = [ids instanceof Tensor ? null : Array.from(ids), options.cache.longestCall]
    const parts: Tensor[] = []
    for (let start = 0; start < tokens.size(1); start += most) {
      const end = Math.min(start + most, tokens.size(1))
      parts.push(this.advance(known?.slice(start, end) ?? slice(tokens, 1, start, end), options))
    }
    return concat(parts, 1)
  }

  /** ids [T] as a tensor, checked against the vocabulary. */
  idTensor(ids: ArrayLike<number>): Tensor {
    if (ids.length === 0) throw new ShapeError('forward: needs at least one token; received none')
    for (let i = 0; i < ids.length; i++) {
      if (!Number.isInteger(ids[i]) || ids[i] < 0 || ids[i] >= this.config.vocabularySize) {
        throw new ShapeError(
          `forward: token ids must lie in 0..${this.config.vocabularySize - 1}; received ${ids[i]} at position ${i}`,
        )
      }
    }
    return Tensor.fromArray(this.device, Int32Array.from(ids), [ids.length], 'int32')
  }
}

/** A language model. */
export const aCausalLM: Kind = instanceOf(CausalLM, 'be a language model, as loadCausalLM gives it')
