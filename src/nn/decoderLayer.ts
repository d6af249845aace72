import { add } from '../tensor/ops/index.ts'
import { scope } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { Attention, DecoderContext } from './attention.ts'
import { Block, type BlockNames } from './block.ts'
import type { NormLike } from './layerLike.ts'
import type { GatedMLP, MLP } from './mlp.ts'

/** What a decoder layer consists of; the order in which they are given is that of its paths. */
export interface DecoderLayerParts {
  attention: Attention
  mlp: MLP | GatedMLP
  /** Before the attention. */
  attentionNorm: NormLike
  /** Before the MLP. */
  mlpNorm: NormLike
}

/**
 * h = x + attention(attentionNorm(x)), y = h + mlp(mlpNorm(h)): normalization before each part.
 * Source: Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020.
 */
export class DecoderLayer extends Block<keyof DecoderLayerParts> {
  declare readonly attention: Attention
  declare readonly mlp: MLP | GatedMLP
  declare readonly attentionNorm: NormLike
  declare readonly mlpNorm: NormLike

  constructor(parts: DecoderLayerParts, names: BlockNames<keyof DecoderLayerParts>) {
    super(names)
    Object.assign(this, parts)
  }

  /** x [B, T, hidden] → [B, T, hidden] */
  forward(x: Tensor, context: DecoderContext): Tensor {
    return scope(() => {
      const attended = add(x, this.attention.forward(this.attentionNorm.forward(x), context))
      return add(attended, this.mlp.forward(this.mlpNorm.forward(attended)))
    })
  }
}
