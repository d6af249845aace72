import type { FloatDType } from '../core/dtype.ts'
import { embedding } from '../tensor/ops/embedding.ts'
import { Tensor } from '../tensor/tensor.ts'
import { Module } from './module.ts'

/** y = weight[ids]. */
export class Embedding extends Module {
  /** [numEmbeddings, embeddingDim] */
  weight: Tensor

  constructor(numEmbeddings: number, embeddingDim: number, options: { dtype?: FloatDType } = {}) {
    super()
    this.weight = Tensor.meta([numEmbeddings, embeddingDim], options.dtype ?? 'float32')
  }

  override extraRepr(): string {
    return this.weight.shape.join(', ')
  }

  /** ids [...] int32 → [..., embeddingDim] float32. */
  forward(ids: Tensor): Tensor {
    return embedding(this.weight, ids)
  }
}
