import { ShapeError } from '../core/errors.ts'
import { aBoolean, checkEach, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import type { Random } from '../core/random.ts'
import type { Device } from '../devices/device.ts'
import { linear } from '../qtensor/linear.ts'
import { add, cast, expand, scaledDotProductAttention, transpose, where } from '../tensor/ops/index.ts'
import { scope } from '../tensor/scope.ts'
import { aTensor, checkShape, Tensor } from '../tensor/tensor.ts'
import { Linear } from './linear.ts'
import { Module } from './module.ts'
import { constant } from './rmsNorm.ts'
import { uniform } from './uniform.ts'

/** What an attention layer has, and takes. */
export interface MultiheadAttentionOptions {
  /** Default true. */
  bias?: boolean
  /** Whether the batch is the first dimension, before the tokens; default false. */
  batchFirst?: boolean
}

/** What the queries of an attention layer see. Both masks together hide what either hides. */
export interface AttentionMasks {
  /** Whether each query sees the keys up to its own only. */
  isCausal?: boolean
  /**
   * [T, S] or [B·numHeads, T, S]: bool, true where a query does not see a key; or float32, added to the
   * scores.
   */
  attnMask?: Tensor
  /** [B, S]: bool, true where a key is padding; or float32, added to the scores. */
  keyPaddingMask?: Tensor
}

const maskKinds: OptionKinds<AttentionMasks> = {
  isCausal: aBoolean,
  attnMask: aTensor,
  keyPaddingMask: aTensor,
}
const optionKinds: OptionKinds<MultiheadAttentionOptions> = { bias: aBoolean, batchFirst: aBoolean }

/**
 * y = out_proj(attention of the heads of in_proj · query, in_proj · key, in_proj · value). Parameters have
 * the names that they have in PyTorch's state dictionaries: one weight for the three projections.
 * Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2.2.
 */
export class MultiheadAttention extends Module {
  readonly embedDim: number
  readonly numHeads: number
  readonly batchFirst: boolean
  /** [3·embedDim, embedDim]: of queries, keys and values */
  in_proj_weight: Tensor
  /** [3·embedDim], or null */
  in_proj_bias: Tensor | null
  out_proj: Linear

  /** @throws ShapeError unless heads divide the embedding */
  constructor(embedDim: number, numHeads: number, options: MultiheadAttentionOptions = {}) {
    super()
    checkEach('MultiheadAttention', { embedDim, numHeads }, wholeNumber(1))
    checkOptions('MultiheadAttention', options, optionKinds)
    const { bias = true, batchFirst = false } = options
    if (embedDim % numHeads !== 0) {
      throw new ShapeError(
        `MultiheadAttention: heads must divide embedDim (${embedDim}); received ${numHeads}`,
      )
    }
    this.embedDim = embedDim
    this.numHeads = numHeads
    this.batchFirst = batchFirst
    this.in_proj_weight = Tensor.meta([3 * embedDim, embedDim])
    this.in_proj_bias = bias ? Tensor.meta([3 * embedDim]) : null
    this.out_proj = new Linear(embedDim, embedDim, { bias })
  }

  /** Xavier's uniform distribution for the projections, biases of 0, as in PyTorch. */
  override resetParameters(device: Device, random: Random): void {
    const { shape } = this.in_proj_weight
    this.in_proj_weight = uniform(this.in_proj_weight, device, random, Math.sqrt(6 / (shape[0] + shape[1])))
    this.in_proj_bias &&= constant(device, this.in_proj_bias, 0)
  }

  /**
   * @param query [T, B, embedDim] float32; [B, T, embedDim] with `batchFirst`
   * @param key,value [S, B, embedDim] float32, or as above; the query when left out
   * @returns the shape of query; of a query that sees no key only out_proj's bias is left
   */
  forward(query: Tensor, key = query, value = key, options: AttentionMasks = {}): Tensor {
    checkOptions('MultiheadAttention', options, maskKinds)
    return scope(() => {
      const first = (x: Tensor) => (this.batchFirst ? x : transpose(x, 0, 1))
      const [q, k, v] = [query, key, value].map((x, part) => this.heads(first(x), part))
      const { isCausal } = options
      const attnMask = this.mask(options, [q.shape[0], q.shape[2], k.shape[2]])
      const y = transpose(scaledDotProductAttention(q, k, v, { isCausal, attnMask }), 1, 2)
      return first(this.out_proj.forward(y.view([y.shape[0], y.shape[1], this.embedDim])))
    })
  }

  /** Both masks as what is added to scores [B, H, T, S], if there are any. */
  private mask({ attnMask, keyPaddingMask }: AttentionMasks, [B, T, S]: number[]): Tensor | undefined {
    const added = (mask: Tensor) => (mask.dtype === 'bool' ? where(mask, -Infinity, 0) : mask)
    const padding = keyPaddingMask && added(keyPaddingMask)
    if (padding) checkShape('MultiheadAttention', 'keyPaddingMask', padding, [B, S])
    if (!attnMask) return padding?.view([B, 1, 1, S])
    const each = attnMask.shape.length === 3
    checkShape('MultiheadAttention', 'attnMask', attnMask, each ? [B * this.numHeads, T, S] : [T, S])
    const shape = each ? [B, this.numHeads, T, S] : [1, 1, T, S]
    const scores = added(attnMask).view(shape)
    if (!padding) return scores
    const whole = [B, shape[1], T, S]
    return add(expand(scores, whole), expand(padding.view([B, 1, 1, S]), whole))
  }

  /** x [B, T, embedDim] through projection `part` as [B, H, T, D]. */
  private heads(x: Tensor, part: number): Tensor {
    const { embedDim, numHeads } = this
    const [B, T] = x.shape
    const [from, to] = [part * embedDim, (part + 1) * embedDim]
    const bias = this.in_proj_bias && cast(this.in_proj_bias, 'float32')
    const projected = linear(x, this.in_proj_weight.rows(from, to), bias?.rows(from, to) ?? null)
    return transpose(projected.view([B, T, numHeads, embedDim / numHeads]), 1, 2)
  }
}
