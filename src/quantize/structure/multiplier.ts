import { Conv1D } from '../../nn/gptConv1D.ts'
import { Linear } from '../../nn/linear.ts'
import type { Module } from '../../nn/module.ts'
import { cast, transpose } from '../../tensor/ops/index.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { Edits } from '../calibrated/edits.ts'

/** A layer that multiplies rows by a float matrix, whichever way round that lies. */
export type Multiplier = Linear | Conv1D

export function isMultiplier(module: Module | undefined): module is Multiplier {
  return (module instanceof Linear || module instanceof Conv1D) && module.weight instanceof Tensor
}

/** The weight with a row for each output, [N, K] float32; of the running scope. */
export function weightRows(layer: Multiplier): Tensor {
  const rows = layer instanceof Conv1D ? transpose(layer.weight, 0, 1) : layer.weight
  return cast(rows, 'float32')
}

/** Rows [N, K] as the layer stores its weight; of the running scope. */
export function storedWeight(layer: Multiplier, rows: Tensor): Tensor {
  return layer instanceof Conv1D ? transpose(rows, 0, 1) : rows
}

/** Puts a weight given by rows, [N, K] float32, in the place of a layer's. */
export function putWeightRows(edits: Edits, layer: Multiplier, rows: Tensor): void {
  edits.put(layer, 'weight', storedWeight(layer, rows))
}
