import type { Tensor } from '../tensor/tensor.ts'
import type { Module, Parameter } from './module.ts'

/*
 * What blocks ask of their layers. A layer, its quantized twin and a layer of the user's can each stand
 * there.
 */

/** What multiplies by a weight: x [..., in] → [..., out] float32. `Linear`, `Conv1D`, their twins. */
export interface LinearLike extends Module {
  weight: Parameter
  bias: Tensor | null
  forward(x: Tensor): Tensor
}

/** What has a row for each id: ids [...] int32 → [..., size] float32. `Embedding`, its twin. */
export interface EmbeddingLike extends Module {
  weight: Parameter
  forward(ids: Tensor): Tensor
}

/**
 * What maps each row to one of its size: x [..., size] → [..., size] float32. `RMSNorm`, `LayerNorm`, its
 * twin.
 */
export interface NormLike extends Module {
  forward(x: Tensor): Tensor
}

/** What a decoder layer does token by token: x [..., hidden] → [..., hidden] float32. `MLP`, `GatedMLP`. */
export interface MLPLike extends Module {
  forward(x: Tensor): Tensor
}
