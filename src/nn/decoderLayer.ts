import { add, mul } from '../tensor/ops/index.ts'
import { scope } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type ActivationName, activations } from './activations.ts'
import { type AttentionLike, type DecoderContext, lastTokens } from './attention.ts'
import { Block, type BlockNames } from './block.ts'
import type { LinearLike, MLPLike, NormLike } from './layerLike.ts'
import type { Module } from './module.ts'

/** What a decoder stacks: x [B, T, hidden] → [B, last, hidden]. */
export interface DecoderLayerLike extends Module {
  forward(x: Tensor, context: DecoderContext): Tensor
}

/** What a decoder layer consists of; the order in which they are given is that of its paths. */
export interface DecoderLayerParts {
  attention: AttentionLike
  /** Left out where `up` and `down`, its two layers, stand in the decoder layer itself. */
  mlp?: MLPLike
  up?: LinearLike
  down?: LinearLike
  /** Before the attention; after its sum where norms come last. */
  attentionNorm?: NormLike
  /** Before the MLP; after its sum where norms come last. */
  mlpNorm?: NormLike
  /** Of what the attention gives, before it is added. */
  attentionOutputNorm?: NormLike
  /** Of what the MLP gives, before it is added. */
  mlpOutputNorm?: NormLike
}

/** How the parts of a decoder layer are put together. */
export interface DecoderLayerOptions {
  /**
   * preNorm (default): h = x + attention(attentionNorm(x)), y = h + mlp(mlpNorm(h)).
   * postNorm: h = attentionNorm(x + attention(x)), y = mlpNorm(h + mlp(h)).
   * parallel: y = x + attention(attentionNorm(x)) + mlp(mlpNorm(x)); where there is no mlpNorm, the MLP takes
   * what the attention does.
   */
  form?: 'preNorm' | 'postNorm' | 'parallel'
  /** Multiplies what attention and MLP give, before it is added; default 1. */
  residualMultiplier?: number
  /** Between `up` and `down`; default relu. */
  activation?: ActivationName
}

/**
 * Attention and an MLP, what they give added to what they took; each norm stands where it is given, and is
 * left out where it is not.
 * Source: Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020; the parallel form:
 * Wang, Komatsuzaki, "GPT-J-6B", 2021.
 */
export class DecoderLayer extends Block<keyof DecoderLayerParts> {
  declare readonly attention: AttentionLike
  declare readonly mlp?: MLPLike
  declare readonly up?: LinearLike
  declare readonly down?: LinearLike
  declare readonly attentionNorm?: NormLike
  declare readonly mlpNorm?: NormLike
  declare readonly attentionOutputNorm?: NormLike
  declare readonly mlpOutputNorm?: NormLike
  private readonly options: DecoderLayerOptions

  constructor(
    parts: DecoderLayerParts,
    names: BlockNames<keyof DecoderLayerParts>,
    options: DecoderLayerOptions = {},
  ) {
    super(names)
    Object.assign(this, parts)
    this.options = options
  }

  /** x [B, T, hidden] → [B, last, hidden] */
  forward(x: Tensor, context: DecoderContext): Tensor {
    const { form = 'preNorm' } = this.options
    const last = (of: Tensor) => lastTokens(of, context.last)
    return scope(() => {
      if (form === 'postNorm') {
        const h = normed(add(last(x), this.attended(x, context)), this.attentionNorm)
        return normed(add(h, this.fed(h)), this.mlpNorm)
      }
      const seen = normed(x, this.attentionNorm)
      const h = add(last(x), this.attended(seen, context))
      if (form === 'preNorm') return add(h, this.fed(normed(h, this.mlpNorm)))
      return add(h, this.fed(this.mlpNorm ? this.mlpNorm.forward(last(x)) : last(seen)))
    })
  }

  private attended(x: Tensor, context: DecoderContext): Tensor {
    return this.scaled(normed(this.attention.forward(x, context), this.attentionOutputNorm))
  }

  private fed(x: Tensor): Tensor {
    return this.scaled(normed(this.mlp ? this.mlp.forward(x) : this.projected(x), this.mlpOutputNorm))
  }

  /** What an MLP of `up` and `down` gives. */
  private projected(x: Tensor): Tensor {
    const { activation = 'relu' } = this.options
    const [up, down] = [this.up as LinearLike, this.down as LinearLike]
    return down.forward(activations[activation](up.forward(x)))
  }

  private scaled(x: Tensor): Tensor {
    const { residualMultiplier = 1 } = this.options
    return residualMultiplier === 1 ? x : mul(x, residualMultiplier)
  }
}

function normed(x: Tensor, norm: NormLike | undefined): Tensor {
  return norm ? norm.forward(x) : x
}
