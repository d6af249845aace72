import { lookup } from '../qtensor/lookup.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { Embedding } from './embedding.ts'
import { Module } from './module.ts'

/** The quantized twin of `Embedding`: rows are dequantized as they are looked up. Its weight is quantized, or still to be loaded. */
export class QEmbedding extends Module {
  weight: Tensor | QTensor

  constructor(float: Embedding) {
    super()
    this.weight = float.weight
  }

  override extraRepr(): string {
    return this.weight.shape.join(', ')
  }

  /** ids [...] int32 → [..., embeddingDim] float32. */
  forward(ids: Tensor): Tensor {
    return lookup(this.weight, ids)
  }
}
