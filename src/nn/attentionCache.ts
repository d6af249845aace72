import { type AttentionOptions, attention, type Position, transpose } from '../tensor/ops/index.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** Where the queries of a call stand, what they see beside the causal mask, and what their scores are. */
export interface AttendOptions extends Omit<AttentionOptions, 'mask'> {
  /**
   * Of the first token of each sequence; a scalar or a tensor in a list that is kept. Tokens without a cache
   * see each other only, wherever they stand.
   */
  position: Position
  /** Multiplies q · k. */
  scale: number
}

/**
 * What an attention layer asks for the tokens before its own. Layers hold no keys and values themselves: they
 * hand them over, and get what their queries see.
 */
export interface AttentionCache {
  /**
   * Adds the keys and values of a layer's tokens, and gives softmax(scale · q · kᵀ) · v over all that each
   * query sees: as `ops.attention` with the causal mask.
   * @param q [B, t, H, D] float32, of the last t ≤ T tokens; where t < T, the position is a number
   * @param k,v [B, T, KV, D] float32, H a multiple of KV
   * @returns [B, t, H, D] float32
   */
  attend(layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor
}

/** Tokens that stand alone: they see each other and none before; gradients pass. */
export const withoutCache: AttentionCache = {
  attend: (_layer, q, k, v, options) =>
    attention(q, transpose(k, 1, 2), transpose(v, 1, 2), {
      ...options,
      position: k.size(1) - q.size(1),
    }),
}
