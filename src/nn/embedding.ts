import type { FloatDType } from '../core/dtype.ts'
import type { Random } from '../core/random.ts'
import type { Device } from '../devices/device.ts'
import { embedding } from '../tensor/ops/embedding.ts'
import { keep } from '../tensor/scope.ts'
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
