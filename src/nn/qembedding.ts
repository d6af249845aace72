import { check } from '../core/kinds.ts'
import { lookup } from '../qtensor/lookup.ts'
import type { WeightFacts } from '../qtensor/parts.ts'
import { chooseLookup } from '../qtensor/product.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { Embedding } from './embedding.ts'
import { type ActivationQuantization, aLayer, QWeightModule, type WeightQuantization } from './qmodule.ts'

/** The quantized twin of `Embedding`: rows are dequantized as they are looked up. */
export class QEmbedding extends QWeightModule {
  static readonly typeName: string = 'QEmbedding'
  constructor(float: Embedding, quantization: WeightQuantization, activations?: ActivationQuantization) {
    check('QEmbedding', 'float', float, aLayer)
    super({ weight: float.weight, bias: null }, quantization, activations)
  }

  override extraRepr(): string {
    return this.weight.shape.join(', ')
  }

  override floatLayer(weight: Tensor): Embedding {
    return Object.assign(new Embedding(weight.shape[0], weight.shape[1]), { weight })
  }

  override kernelFor(weight: WeightFacts): string {
    return chooseLookup(weight).kernel
  }

  /** ids [...] int32 → [..., embeddingDim] float32. */
  protected override qforward(ids: Tensor): Tensor {
    return lookup(this.weightInUse(), ids)
  }
}
