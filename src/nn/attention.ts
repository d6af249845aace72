import { cast, type Position, slice, split } from '../tensor/ops/index.ts'
import { placeBehind } from '../tensor/ops/position.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { AttentionCache } from './attentionCache.ts'
import { Block, type BlockNames } from './block.ts'
import type { LinearLike, NormLike } from './layerLike.ts'
import type { Module } from './module.ts'
import type { RotaryEmbedding } from './rotary.ts'

/** Where the tokens of a forward pass stand, and what they may look back on. */
export interface DecoderContext {
  /** Holds the tokens before; `withoutCache` where they stand alone. */
  cache: AttentionCache
  /** Of the first token of each sequence; a scalar or a tensor when the pass is recorded to be kept. */
  position: Position
  /**
   * Of how many of the last tokens the output is asked for, default all: the others add their keys and values
   * and are done. Where they are fewer than all, the position is a number.
   */
  last?: number
  /** Turns queries and keys by their positions, where the model does so; its tables are prepared. */
  rotary?: RotaryEmbedding
  /** Added to scores, [heads, 1, positions] float32: ALiBi's. */
  bias?: Tensor
}

/** The last so many tokens of x [B, T, …]; all where no number is given. */
export function lastTokens(x: Tensor, last = x.size(1)): Tensor {
  const tokens = x.size(1)
  return last === tokens ? x : slice(x, 1, tokens - last, tokens)
}

/** What a decoder layer asks for what tokens say to each other: x [B, T, hidden] → [B, last, hidden]. */
export interface AttentionLike extends Module {
  forward(x: Tensor, context: DecoderContext): Tensor
}

/** The layers of an attention block: a projection each for queries, keys and values, or one for all three. */
export type AttentionParts = (
  | { q: LinearLike; k: LinearLike; v: LinearLike }
  /** Its outputs are the heads of the queries, then of the keys, then of the values; or `qkvByHead`. */
  | { qkv: LinearLike }
) & {
  output: LinearLike
  /** Normalize queries and keys before they are turned: the values of each head. */
  qNorm?: NormLike
  kNorm?: NormLike
  /** Of what all heads give, before the output. */
  headsNorm?: NormLike
  /** [heads]: a score more of each head, whose weight gives nothing. */
  sinks?: Tensor
}

/** Heads, and what they see. */
export interface AttentionOptions {
  /** Which of the cache's layers it is. */
  layer: number
  heads: number
  /** A divisor of `heads`: as many queries share a key and a value. */
  keyValueHeads: number
  headSize: number
  /** Multiplies q · k; default 1/√headSize. */
  scale?: number
  /** Tokens that each sees, itself the last of them; default all. */
  window?: number
  /** Bounds the scores s: softcap · tanh(s / softcap). */
  softcap?: number
  /** Whether qNorm and kNorm take the heads of a token as one row; default false: each head by itself. */
  normsWholeRows?: boolean
  /**
   * Whether the outputs of `qkv` are, of one key-value head after the other, the heads of its queries, its key
   * and its value; default false.
   */
  qkvByHead?: boolean
}

type AttentionPart = 'q' | 'k' | 'v' | 'qkv' | 'output' | 'qNorm' | 'kNorm' | 'headsNorm' | 'sinks'

/**
 * y = output(softmax(scale · q · kᵀ) · v), each token seeing those before it, in heads of which several may
 * share keys and values.
 * Source: Vaswani et al., "Attention Is All You Need", 2017; Ainslie et al., "GQA", 2023.
 */
export class Attention extends Block<AttentionPart> {
  declare readonly q?: LinearLike
  declare readonly k?: LinearLike
  declare readonly v?: LinearLike
  declare readonly qkv?: LinearLike
  declare readonly output: LinearLike
  declare readonly qNorm?: NormLike
  declare readonly kNorm?: NormLike
  declare readonly headsNorm?: NormLike
  declare readonly sinks?: Tensor
  readonly options: AttentionOptions

  constructor(parts: AttentionParts, options: AttentionOptions, names: BlockNames<AttentionPart>) {
    super(names)
    Object.assign(this, parts)
    this.options = options
  }

  override get sameInput(): readonly AttentionPart[] {
    return ['q', 'k', 'v']
  }

  /** x [B, T, hidden] → [B, last, hidden]; the keys and values of all tokens go into this layer's cache. */
  forward(x: Tensor, { cache, position, last, rotary, bias }: DecoderContext): Tensor {
    const { layer, heads, headSize, scale = 1 / Math.sqrt(headSize), window, softcap } = this.options
    const { normsWholeRows = false } = this.options
    const [q, k, v] = this.project(x, last)
    const turned = (part: Tensor, norm: NormLike | undefined) => {
      const [B, tokens, count, size] = part.shape
      const row = normsWholeRows ? part.view([B, tokens, count * size]) : part
      const normed = norm ? norm.forward(row).view(part.shape) : part
      return rotary ? rotary.forward(normed, placeBehind(position, x.size(1) - tokens)) : normed
    }
    const sinks = this.sinks && cast(this.sinks, 'float32')
    const seen = { position, scale, window, softcap, bias, sinks }
    const attended = cache.attend(layer, turned(q, this.qNorm), turned(k, this.kNorm), v, seen)
    const y = attended.view([...attended.shape.slice(0, 2), heads * headSize])
    return this.output.forward(this.headsNorm ? this.headsNorm.forward(y) : y)
  }

  /** Queries of the last tokens, keys and values of x, each [B, its tokens, its heads, headSize]. */
  private project(x: Tensor, last: number | undefined): Tensor[] {
    const { heads, keyValueHeads, headSize } = this.options
    const counts = [heads, keyValueHeads, keyValueHeads]
    const inputs = [lastTokens(x, last), x, x]
    const parts = this.qkv
      ? this.splitHeads(this.qkv.forward(x))
      : [this.q, this.k, this.v].map((layer, i) => (layer as LinearLike).forward(inputs[i]))
    const [q, k, v] = parts.map((part, i) => part.view([...part.shape.slice(0, 2), counts[i], headSize]))
    return [lastTokens(q, last), k, v]
  }

  /** What `qkv` gives, as queries, keys and values. */
  private splitHeads(fused: Tensor): Tensor[] {
    const { heads, keyValueHeads, headSize, qkvByHead } = this.options
    const [B, T] = fused.shape
    const shared = heads / keyValueHeads
    if (qkvByHead) return split(fused.view([B, T, keyValueHeads, shared + 2, headSize]), [shared, 1, 1], 3)
    return split(fused, [heads * headSize, keyValueHeads * headSize, keyValueHeads * headSize], -1)
  }
}
