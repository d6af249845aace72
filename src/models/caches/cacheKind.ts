import { type DType, dtypes } from '../../core/dtype.ts'
import { numel, type Shape } from '../../core/shape.ts'
import type { AttendOptions } from '../../nn/attentionCache.ts'
import type { Tensor } from '../../tensor/tensor.ts'

/** What a cache must know of a layer. */
export interface LayerSizes {
  keyValueHeads: number
  headSize: number
  /** Tokens that its queries see at most; default all. */
  window?: number
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
export type LayerShape = CacheShape & LayerSizes

/** A tensor that a layer holds. */
export interface HeldTensor {
  /** [batch, heads, rows, …] */
  shape: Shape
  dtype: DType
  /** Tokens that have a row together; default 1. */
  rowTokens?: number
  /** Whether the last tokens stand there, each in the place of an older one; default false. */
  ring?: boolean
}

/** What a layer holds of its keys and values: tensors, or what they are, by name; some may be absent. */
export interface HeldLayer<Name extends string, Optional extends string, T> {
  keys: Readonly<Record<Name, T> & Partial<Record<Optional, T>>>
  values: Readonly<Record<Name, T> & Partial<Record<Optional, T>>>
}

/** What any cache holds of a layer. */
export type Layer<T = Tensor> = HeldLayer<string, never, T>

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
    shape: LayerShape,
  ): Tensor
  /** Tokens of one call at most; default all. */
  longestCall?(shape: LayerShape): number
}

/** The same of what each name of a layer stands for. */
export function mapLayer<T, U>({ keys, values }: Layer<T>, map: (held: T, name: string) => U): Layer<U> {
  const mapped = (part: string, held: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(held).map(([name, one]) => [name, map(one, `${part}.${name}`)]))
  return { keys: mapped('keys', keys), values: mapped('values', values) }
}

/** All that the names of a layer stand for. */
export function heldBy<T>({ keys, values }: Layer<T>): T[] {
  return [...Object.values(keys), ...Object.values(values)]
}

/** Bytes of a cache, before it is made. */
export function cacheBytes(kind: CacheKind, layers: readonly LayerSizes[], shape: CacheShape): number {
  const held = layers.flatMap((sizes) => heldBy(kind.layer({ ...sizes, ...shape })))
  return held.reduce((sum, { shape, dtype }) => sum + numel(shape) * dtypes[dtype].bytes, 0)
}
