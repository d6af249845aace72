import { aFloatDType, type FloatDType } from '../core/dtype.ts'
import { checkEach, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import type { Random } from '../core/random.ts'
import type { Device } from '../devices/device.ts'
import { embedding } from '../tensor/ops/embedding.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { Module } from './module.ts'

/** How an embedding is stored. */
export interface EmbeddingOptions {
  /** Default float32. */
  dtype?: FloatDType
}

const optionKinds: OptionKinds<EmbeddingOptions> = { dtype: aFloatDType }

/** y = weight[ids]. */
export class Embedding extends Module {
  static readonly typeName: string = 'Embedding'
  /** [numEmbeddings, embeddingDim] */
  weight: Tensor

  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingOptions = {}) {
    super()
    checkEach('Embedding', { numEmbeddings, embeddingDim }, wholeNumber(0))
    checkOptions('Embedding', options, optionKinds)
    this.weight = Tensor.meta([numEmbeddings, embeddingDim], options.dtype ?? 'float32')
  }

  override extraRepr(): string {
    return this.weight.shape.join(', ')
  }

  /** Values of the normal distribution, as in PyTorch. */
  override resetParameters(device: Device, random: Random): void {
    const { shape, numel, dtype, requiresGrad } = this.weight
    const values = Float32Array.from({ length: numel }, () => random.normal())
    this.weight.dispose()
    this.weight = keep(Tensor.fromNumbers(device, values, shape, dtype))
    this.weight.requiresGrad = requiresGrad
  }

  /** ids [...] int32 → [..., embeddingDim] float32. */
  forward(ids: Tensor): Tensor {
    return embedding(this.weight, ids)
  }
}
