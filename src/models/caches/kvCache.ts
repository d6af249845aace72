import type { DType } from '../../core/dtype.ts'
import { ShapeError } from '../../core/errors.ts'
import { check, wholeNumber } from '../../core/kinds.ts'
import type { Shape } from '../../core/shape.ts'
import type { Device } from '../../devices/device.ts'
import type { AttendOptions, AttentionCache } from '../../nn/attentionCache.ts'
import type { Position } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { copyTo, Tensor } from '../../tensor/tensor.ts'

/** What a cache must know of a model. */
export interface CacheSizes {
  layers: number
  keyValueHeads: number
  headSize: number
}

/** How many sequences a cache holds, and what it keeps of their tokens. */
export interface CacheShape {
  /** Tokens it can hold of each sequence. */
  capacity: number
  batch: number
  /** Tokens of which keys and values stay in full, where others do not. */
  residual: number
}

/** What a layer of a cache is made for. */
export type LayerShape = CacheShape & Omit<CacheSizes, 'layers'>

/** A tensor that a layer holds. */
export interface HeldTensor {
  /** The batch is the first of its sizes. */
  shape: Shape
  dtype: DType
}

/** What a layer holds of its keys and values: tensors, or what they are, by name; some may be absent. */
export interface HeldLayer<Name extends string, Optional extends string, T> {
  keys: Readonly<Record<Name, T> & Partial<Record<Optional, T>>>
  values: Readonly<Record<Name, T> & Partial<Record<Optional, T>>>
}

/** The tensors of any cache. */
type Layer<T = Tensor> = HeldLayer<string, never, T>

/** What a cache keeps of tokens, and how queries see them: an entry of the table of caches. */
export interface CacheKind<Name extends string = string, Optional extends string = never> {
  /** The tensors of a layer. */
  layer(shape: LayerShape): HeldLayer<Name, Optional, HeldTensor>
  /** `AttentionCache.attend` of one layer. */
  attend(
    layer: HeldLayer<Name, Optional, Tensor>,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: AttendOptions,
  ): Tensor
}

/** Keys and values of the tokens seen so far, of as many sequences as it was made for. */
export class KVCache implements AttentionCache {
  private readonly device: Device
  private readonly kind: CacheKind
  private readonly layers: readonly Layer[]
  /** Tokens it can hold of each sequence. */
  readonly capacity: number
  /** Tokens it holds of each sequence. */
  readonly lengths: Int32Array

  /** @param layers as the kind has them, for as many sequences as there are lengths */
  constructor(
    device: Device,
    kind: CacheKind,
    layers: readonly Layer[],
    capacity: number,
    lengths: Int32Array,
  ) {
    this.device = device
    this.kind = kind
    this.layers = layers
    this.capacity = capacity
    this.lengths = lengths
  }

  /** An empty cache. */
  static make(kind: CacheKind, device: Device, sizes: CacheSizes, shape: CacheShape): KVCache {
    const { layers: count, ...head } = sizes
    const make = ({ shape, dtype }: HeldTensor) => keep(Tensor.empty(device, shape, dtype))
    const layers = Array.from({ length: count }, () => mapLayer(kind.layer({ ...head, ...shape }), make))
    return new KVCache(device, kind, layers, shape.capacity, new Int32Array(shape.batch))
  }

  /** How many sequences it holds. */
  get batch(): number {
    return this.lengths.length
  }

  /** Tokens it holds of the longest sequence; setting it sets that of all. */
  get length(): number {
    return this.lengths.reduce((most, length) => Math.max(most, length), 0)
  }

  set length(tokens: number) {
    this.lengths.fill(tokens)
  }

  /**
   * Where the next tokens of its sequences stand: one place for all of them, or a tensor of places where
   * their lengths differ.
   * @throws ShapeError if `tokens` more do not fit
   */
  next(tokens: number): Position {
    if (this.length + tokens > this.capacity)
      throw new ShapeError(
        `forward: the cache holds ${this.capacity} tokens; received ${tokens} behind ${this.length}`,
      )
    if (this.lengths.every((length) => length === this.lengths[0])) return this.lengths[0]
    return Tensor.fromArray(this.device, this.lengths)
  }

  /** As many tokens were added to each sequence. */
  added(tokens: number): void {
    for (let b = 0; b < this.batch; b++) this.lengths[b] += tokens
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
    const rows = (tensor: Tensor) => keep(tensor.rows(start, end))
    const layers = this.layers.map((layer) => mapLayer(layer, rows))
    return new KVCache(this.device, this.kind, layers, this.capacity, this.lengths.subarray(start, end))
  }

  /** Puts what it holds of sequence `from` in the place of sequence `to`, and empties the first. */
  moveSequence(from: number, to: number): void {
    scope(() => {
      for (const tensor of this.tensors) copyTo(tensor.rows(from, from + 1), tensor.rows(to, to + 1))
    })
    this.lengths[to] = this.lengths[from]
    this.lengths[from] = 0
  }

  attend(layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor {
    return this.kind.attend(this.layers[layer], q, k, v, options)
  }

  /** All that it holds. */
  private get tensors(): Tensor[] {
    return this.layers.flatMap(({ keys, values }) => [...Object.values(keys), ...Object.values(values)])
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

/** The same of what each name of a layer stands for. */
function mapLayer<T, U>({ keys, values }: Layer<T>, map: (held: T) => U): Layer<U> {
  const mapped = (held: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(held).map(([name, one]) => [name, map(one)]))
  return { keys: mapped(keys), values: mapped(values) }
}
