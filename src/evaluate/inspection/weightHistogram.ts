import { type QType, valueOfCode } from '../../core/qtype.ts'
import type { QWeightModule } from '../../nn/qmodule.ts'
import { matrixShape } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { cast, embedding } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'

/** How the float weights of a layer lie, and which of them its codes cannot reach. */
export interface WeightHistogram {
  /** counts[i] of weights from edges[i] to edges[i + 1]. */
  edges: number[]
  counts: number[]
  /** Those among them that are clipped: more than half a step beyond what codes of their block stand for. */
  clipped: number[]
  /** Share of the weights that are clipped. */
  clippedShare: number
  /** The smallest and the largest weight that codes can stand for, medians over the blocks. */
  range: [low: number, high: number]
}

const bins = 64
/** Larger weights are seen by rows that lie evenly apart. */
const mostWeights = 2 ** 20

/**
 * The histogram of a layer's float weights.
 * @param layer frozen
 * @param float as the float layer has it
 */
export async function weightHistogram(layer: QWeightModule, float: Tensor): Promise<WeightHistogram> {
  const weight = layer.quantizedWeight()
  const [N, K] = matrixShape(weight.shape)
  const step = Math.max(1, Math.ceil((N * K) / mostWeights))
  const rows = Int32Array.from({ length: Math.ceil(N / step) }, (_, i) => i * step)
  const tensors = scope(() => {
    const ids = Tensor.fromArray(weight.device, rows)
    const seen = (matrix: Tensor) => embedding(cast(matrix, 'float32').view([N, K]), ids)
    const [low, high] = extremeCodes(weight.qtype)
    return [seen(layer.outputRows(float)), seen(allOf(weight, low)), seen(allOf(weight, high))]
  })
  const [weights, lows, highs] = await Promise.all(tensors.map((tensor) => tensor.toNumbers()))
  for (const tensor of tensors) tensor.dispose()
  // A scale may be negative: then the smallest code stands for the largest weight.
  const [least, most] = [Float64Array.from(lows), Float64Array.from(highs)]
  for (let i = 0; i < least.length; i++) if (least[i] > most[i]) [least[i], most[i]] = [most[i], least[i]]
  return countWeights(weights, least, most, 2 ** weight.qtype.bits - 1)
}

/**
 * Counts weights, each with the smallest and the largest value that codes of its block stand for.
 * @param steps how many steps there are from the smallest to the largest
 */
export function countWeights(
  weights: ArrayLike<number>,
  lows: ArrayLike<number>,
  highs: ArrayLike<number>,
  steps: number,
): WeightHistogram {
  let [smallest, largest] = [Infinity, -Infinity]
  for (let i = 0; i < weights.length; i++) {
    smallest = Math.min(smallest, weights[i])
    largest = Math.max(largest, weights[i])
  }
  const width = (largest - smallest) / bins || 1
  const counts = new Array<number>(bins).fill(0)
  const clipped = new Array<number>(bins).fill(0)
  let beyond = 0
  for (let i = 0; i < weights.length; i++) {
    const bin = Math.min(bins - 1, Math.floor((weights[i] - smallest) / width))
    const half = (highs[i] - lows[i]) / (2 * steps)
    counts[bin]++
    // What rounds to the last code is not clipped, and rounding of floats is no clipping.
    if (weights[i] >= lows[i] - half * 1.001 && weights[i] <= highs[i] + half * 1.001) continue
    clipped[bin]++
    beyond++
  }
  return {
    edges: Array.from({ length: bins + 1 }, (_, i) => smallest + i * width),
    counts,
    clipped,
    clippedShare: beyond / weights.length,
    range: [median(lows), median(highs)],
  }
}

function median(values: ArrayLike<number>): number {
  return Float64Array.from(values).sort()[values.length >> 1]
}

/** The codes, one byte each, of a type's smallest and largest value. */
function extremeCodes(type: QType): [low: number, high: number] {
  const codes = Array.from({ length: 256 }, (_, code) => code).filter((code) => {
    if (type.codebook) return code < type.codebook.length
    const value = valueOfCode(type, code)
    return value >= type.qmin && value <= type.qmax
  })
  codes.sort((a, b) => valueOfCode(type, a) - valueOfCode(type, b))
  return [codes[0], codes[codes.length - 1]]
}

/** The weight that has one code everywhere, with the scales and offsets that it has. */
function allOf(weight: QTensor, code: number): Tensor {
  const parts = weight.parts()
  const { shape, dtype } = parts.codes
  const codes = Tensor.fromArray(weight.device, new Uint8Array(parts.codes.numel).fill(code), shape, dtype)
  return QTensor.fromParts({ ...parts, codes }).dequantize()
}
