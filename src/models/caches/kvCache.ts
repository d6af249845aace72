import { ShapeError } from '../../core/errors.ts'
import { check, instanceOf, type Kind, wholeNumber } from '../../core/kinds.ts'
import type { Device } from '../../devices/device.ts'
import type { AttendOptions, AttentionCache } from '../../nn/attentionCache.ts'
import type { Position } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { copyTo, Tensor } from '../../tensor/tensor.ts'
import {
  type CacheKind,
  type CacheShape,
  type HeldTensor,
  heldBy,
  type Layer,
  type LayerShape,
  type LayerSizes,
  mapLayer,
} from './cacheKind.ts'

/** A layer of a cache. */
interface CacheLayer {
  readonly shape: LayerShape
  readonly tensors: Layer
}

/** What is known of a sequence beside its length and its ids; the caches that hold it share it. */
interface SequenceState {
  /** The most tokens that it had since it was empty. */
  furthest: number
  /** The model that computed all of it; null where it is empty, or several did. */
  model: object | null
}

/** Keys and values of the tokens seen so far, of as many sequences as it was made for. */
export class KVCache implements AttentionCache {
  readonly device: Device
  readonly kind: CacheKind
  readonly layers: readonly CacheLayer[]
  /** Tokens it can hold of each sequence. */
  readonly capacity: number
  /** Tokens it holds of each sequence. */
  readonly lengths: Int32Array
  /** The ids of each sequence's tokens; of fewer than it holds where they are not known. */
  readonly tokenIds: readonly number[][]
  private readonly states: readonly SequenceState[]

  /** @param layers as the kind has them, for as many sequences as there are lengths */
  constructor(
    device: Device,
    kind: CacheKind,
    layers: readonly CacheLayer[],
    capacity: number,
    lengths: Int32Array,
    tokenIds: readonly number[][],
    states: readonly SequenceState[],
  ) {
    this.device = device
    this.kind = kind
    this.layers = layers
    this.capacity = capacity
    this.lengths = lengths
    this.tokenIds = tokenIds
    this.states = states
  }

  /** An empty cache. */
  static make(kind: CacheKind, device: Device, layers: readonly LayerSizes[], shape: CacheShape): KVCache {
    const made = layers.map((sizes): CacheLayer => {
      const layer = { ...sizes, ...shape }
      const make = ({ shape, dtype }: HeldTensor) => keep(Tensor.empty(device, shape, dtype))
      return { shape: layer, tensors: mapLayer(kind.layer(layer), make) }
    })
    const tokenIds = Array.from({ length: shape.batch }, () => [])
    const states = tokenIds.map((): SequenceState => ({ furthest: 0, model: null }))
    return new KVCache(device, kind, made, shape.capacity, new Int32Array(shape.batch), tokenIds, states)
  }

  /** How many sequences it holds. */
  get batch(): number {
    return this.lengths.length
  }

  /** Tokens it holds of the longest sequence; setting it, to fewer or 0, sets that of all. */
  get length(): number {
    return this.lengths.reduce((most, length) => Math.max(most, length), 0)
  }

  /** @throws ShapeError if it cannot go back so far */
  set length(tokens: number) {
    if (!this.goesBackTo(tokens))
      throw new ShapeError(
        `length: a cache that keeps the last tokens in full must go back by one token, or to 0; received ${tokens} of ${this.furthest}`,
      )
    for (let b = 0; b < this.batch; b++) this.setLength(b, tokens)
  }

  /** Sets how many tokens of sequence b there are: one more, fewer, or 0. */
  setLength(b: number, tokens: number): void {
    const [state, ids] = [this.states[b], this.tokenIds[b]]
    this.lengths[b] = tokens
    if (ids.length > tokens) ids.length = tokens
    state.furthest = tokens === 0 ? 0 : Math.max(state.furthest, tokens)
    if (tokens === 0) state.model = null
  }

  /** The most tokens that any sequence had since it was empty. */
  get furthest(): number {
    return this.states.reduce((most, { furthest }) => Math.max(most, furthest), 0)
  }

  /**
   * Whether it can be as when it held so many tokens. One that keeps the last tokens in full has put later
   * ones into the places of those before, which stay lost however short it became since.
   */
  goesBackTo(tokens: number): boolean {
    return tokens === 0 || tokens >= this.furthest - 1 || !this.hasRing
  }

  /** Whether this model alone computed what it holds. */
  isOf(model: object): boolean {
    return this.states.every((state, b) => this.lengths[b] === 0 || state.model === model)
  }

  private get hasRing(): boolean {
    return this.layers.some(({ shape }) => heldBy(this.kind.layer(shape)).some(({ ring }) => ring))
  }

  /** How many of the tokens of a batch of one can stay where a text of these ids is to be continued. */
  reusable(ids: readonly number[]): number {
    const [known] = this.tokenIds
    if (this.batch !== 1 || known.length !== this.length) return 0
    // The last one is read anew: its logits are what is asked for.
    const most = Math.min(known.length, ids.length - 1)
    const differs = ids.findIndex((id, i) => i >= most || id !== known[i])
    return this.goesBackTo(differs) ? differs : 0
  }

  /** Notes the ids of the tokens that a batch of one holds, of which the first are the first of `ids`. */
  note(ids: readonly number[]): void {
    const [known] = this.tokenIds
    known.length = 0
    for (const id of ids.slice(0, this.length)) known.push(id)
  }

  /**
   * Where the next tokens of its sequences stand: one place for all of them, or a tensor of places where
   * their lengths differ.
   * @throws ShapeError if `tokens` more do not fit
   */
  next(tokens: number): Position {
    const { length, lengths } = this
    if (length + tokens > this.capacity)
      throw new ShapeError(
        `forward: the cache holds ${this.capacity} tokens; received ${tokens} behind ${length}`,
      )
    if (lengths.every((one) => one === length)) return length
    return Tensor.fromArray(this.device, lengths)
  }

  /** A model added as many tokens to each sequence; of a batch of one their ids, if they are known. */
  added(tokens: number, model: object, ids: ArrayLike<number> = []): void {
    const [known] = this.tokenIds
    if (known.length > this.lengths[0]) known.length = this.lengths[0]
    if (known.length === this.lengths[0]) for (let i = 0; i < ids.length; i++) known.push(ids[i])
    for (const [b, state] of this.states.entries()) {
      state.model = this.lengths[b] === 0 || state.model === model ? model : null
      this.setLength(b, this.lengths[b] + tokens)
    }
  }

  /**
   * Sequence b alone, as a cache of one: what is added to it is added here. Dispose it when done; the memory
   * is that of this cache.
   */
  sequence(b: number): KVCache {
    check('sequence', 'b', b, wholeNumber(0, this.batch - 1))
    return this.sequences(b, b + 1)
  }

  /** The same of sequences `start` to `end` (exclusive). */
  sequences(start: number, end: number): KVCache {
    const layers = this.layers.map(({ shape, tensors }) => ({
      shape: { ...shape, batch: end - start },
      tensors: mapLayer(tensors, (tensor) => keep(tensor.rows(start, end))),
    }))
    const [lengths, ids] = [this.lengths.subarray(start, end), this.tokenIds.slice(start, end)]
    const states = this.states.slice(start, end)
    return new KVCache(this.device, this.kind, layers, this.capacity, lengths, ids, states)
  }

  /** Puts what it holds of sequence `from` in the place of sequence `to`, and empties the first. */
  moveSequence(from: number, to: number): void {
    scope(() => {
      for (const tensor of this.tensors) copyTo(tensor.rows(from, from + 1), tensor.rows(to, to + 1))
    })
    this.lengths[to] = this.lengths[from]
    this.tokenIds[to].length = 0
    for (const id of this.tokenIds[from]) this.tokenIds[to].push(id)
    Object.assign(this.states[to], this.states[from])
    this.setLength(from, 0)
  }

  /** What a file says of its sequences, each computed by this model. */
  restore(
    sequences: readonly { length: number; furthest: number; ids: readonly number[] }[],
    model: object,
  ): void {
    for (const [b, { length, furthest, ids }] of sequences.entries()) {
      this.setLength(b, length)
      Object.assign(this.states[b], { furthest, model })
      for (const id of ids) this.tokenIds[b].push(id)
    }
  }

  attend(layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor {
    const { tensors, shape } = this.layers[layer]
    return this.kind.attend(tensors, q, k, v, options, shape)
  }

  /** Tokens that a forward pass may add at once. */
  get longestCall(): number {
    return this.layers.reduce(
      (least, { shape }) => Math.min(least, this.kind.longestCall?.(shape) ?? Infinity),
      Infinity,
    )
  }

  /** All that it holds. */
  private get tensors(): Tensor[] {
    return this.layers.flatMap(({ tensors }) => heldBy(tensors))
  }

  /** Bytes of keys and values of all tokens that it can hold. */
  get bytes(): number {
    return this.tensors.reduce((sum, { byteLength }) => sum + byteLength, 0)
  }

  dispose(): void {
    for (const tensor of this.tensors) tensor.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** What `createCache` gives. */
export const aCache: Kind = instanceOf(KVCache, "be a model's cache, as createCache gives it")
