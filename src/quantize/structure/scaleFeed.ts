import type { Module } from '../../nn/module.ts'
import { RMSNorm } from '../../nn/rmsNorm.ts'
import { add, cast, concat, div, embedding, mul, sub } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { Edits } from '../calibrated/edits.ts'
import type { Feed } from './feeds.ts'
import { isMultiplier, type Multiplier, putWeightRows, weightRows } from './multiplier.ts'

/** A normalization whose channels have weights. */
export type WeightedNorm = Module & { weight: Tensor; bias?: Tensor | null }

/**
 * Divides the channels that feed layers by factors, and multiplies the columns of the layers by them: the
 * model computes the same.
 * @param factors [K] float32, one for each column of the layers, none 0
 */
export function scaleFeed(model: Module, edits: Edits, { from, to, channels }: Feed, factors: Tensor): void {
  scope(() => {
    for (const path of to) {
      const layer = model.getModule(path) as Multiplier
      putWeightRows(edits, layer, mul(weightRows(layer), factors))
    }
    const source = model.getModule(from) as Multiplier | WeightedNorm
    if (isMultiplier(source)) {
      const rows = weightRows(source)
      const [size] = rows.shape
      const divisors = divisorsOf(channels, factors, size)
      putWeightRows(edits, source, div(rows, divisors.view([size, 1])))
      divideBias(edits, source, divisors)
    } else {
      const divisors = divisorsOf(channels, factors, source.weight.numel)
      putNormWeight(edits, source, div(normWeight(source), divisors))
      divideBias(edits, source, divisors)
    }
  })
}

/** What a normalization multiplies its channels by, float32; of the running scope. */
export function normWeight(norm: WeightedNorm): Tensor {
  const weight = cast(norm.weight, 'float32')
  return hasOffset(norm) ? add(weight, 1) : weight
}

/** Makes a normalization multiply its channels by these. */
export function putNormWeight(edits: Edits, norm: WeightedNorm, values: Tensor): void {
  edits.put(norm, 'weight', hasOffset(norm) ? sub(values, 1) : values)
}

function hasOffset(norm: WeightedNorm): boolean {
  return norm instanceof RMSNorm && norm.unitOffset
}

function divideBias(edits: Edits, module: { bias?: Tensor | null }, divisors: Tensor): void {
  if (hasBias(module)) edits.put(module, 'bias', div(cast(module.bias, 'float32'), divisors))
}

export function hasBias<M extends { bias?: Tensor | null }>(module: M): module is M & { bias: Tensor } {
  return module.bias != null
}

/** The divisor of each of `size` channels: the factor of the column that takes it, else 1. */
function divisorsOf(channels: Int32Array, factors: Tensor, size: number): Tensor {
  const { device } = factors
  const places = new Int32Array(size).fill(channels.length)
  for (const [column, channel] of channels.entries()) places[channel] = column
  const table = concat([factors, Tensor.full(device, [1], 1)], 0)
  return embedding(table.view([table.numel, 1]), Tensor.fromArray(device, places)).view([size])
}
