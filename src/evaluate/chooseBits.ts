import { ShapeError } from '../core/errors.ts'
import {
  above,
  aFunction,
  anObject,
  check,
  either,
  isObject,
  listOf,
  show,
  wholeNumber,
} from '../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../core/options.ts'
import {
  type CalibrationSamplesOptions,
  calibrationSamples,
  calibrationSamplesKinds,
} from '../models/calibrationSamples.ts'
import { CausalLM } from '../models/causalLM.ts'
import { quantizationOf } from '../models/quantizeCalibrated.ts'
import { aModule, type Module, type Parameter } from '../nn/module.ts'
import { type Assignment, assign, assignmentCurve } from '../quantize/budget/assignment.ts'
import { candidatesOf, disposeCandidates, type LayerCandidates } from '../quantize/budget/candidates.ts'
import { anAlgorithm, type CalibratedAlgorithm } from '../quantize/calibrated/algorithm.ts'
import type { SampleArguments } from '../quantize/calibrated/stage.ts'
import { someGlobs, someLayers } from '../quantize/options.ts'
import {
  checkOverrides,
  type LayerOverride,
  type LayerOverrides,
  someOverrides,
} from '../quantize/overrides.ts'
import type { QuantizeOptions } from '../quantize/quantize.ts'
import { LayerDivergences } from './inspection/layerDivergences.ts'

/** What `chooseBits` chooses for, and from; one of the three budgets is needed, and no other. */
export interface ChooseBitsOptions
  extends Pick<QuantizeOptions, 'include' | 'exclude' | 'layers' | 'overrides'>,
    CalibrationSamplesOptions {
  /** Bits of a weight on average over these layers, scales and zero points counted. */
  targetBits?: number
  /** Bytes of the whole model, what stays float counted. */
  targetSize?: number
  /** Mean KL(float ‖ quantized) of a language model's guesses, in nats. */
  maxKl?: number
  /** What will quantize the model, as `quantizeCalibrated` takes it: the last type that it says is the base. */
  algorithm: CalibratedAlgorithm | readonly CalibratedAlgorithm[]
  /** What each layer may become. Default: `[{ bits: 2 }, { bits: 3 }, { bits: 4 }, { bits: 8 }]`. */
  candidates?: readonly LayerOverride[]
  /** Samples at most on which KL is measured, with one layer quantized after the other. Default: 4. */
  klSamples?: number
  onProgress?: (done: number, total: number, path: string) => void
}

/** What a layer lost with each candidate, alone in the float model. */
export interface LayerChoice {
  path: string
  /** Weights of the layer. */
  weights: number
  choices: {
    override: LayerOverride
    /** A weight, scales and zero points counted. */
    bitsPerWeight: number
    /** ‖y − ŷ‖₂ / ‖y‖₂ of the layer's output. */
    error: number
    /** Mean KL(float ‖ quantized), in nats; null of a model that is no language model. */
    klDivergence: number | null
  }[]
  /** The number of the one that was taken. */
  chosen: number
}

/** A place on the way from the smallest to the largest choices. */
export interface BitsPoint {
  bitsPerWeight: number
  /** Of the whole model. */
  bytes: number
  /** The sum of what layers lose alone: KL, or squared output errors of a model that is no language model. */
  loss: number
}

/** The assignment that was found. */
export interface ChosenBits extends BitsPoint {
  /** For `quantizeCalibrated` and `quantize`: what each layer becomes. */
  overrides: LayerOverrides
  layers: LayerChoice[]
  /** KL with all these layers quantized at once, measured; null of a model that is no language model. */
  klDivergence: number | null
  /** The best for every size, the smallest first. */
  curve: BitsPoint[]
}

const usualCandidates: readonly LayerOverride[] = [2, 3, 4, 8].map((bits) => ({ bits }))

const anOverride = { ...anObject, must: 'be an object such as { bits: 3 }', holds: isObject }

const optionKinds: OptionKinds<ChooseBitsOptions> = {
  targetBits: above(0),
  targetSize: above(0),
  maxKl: above(0),
  algorithm: required(either(anAlgorithm.must, anAlgorithm, listOf('algorithms', anAlgorithm))),
  candidates: listOf('overrides', anOverride),
  ...calibrationSamplesKinds,
  klSamples: wholeNumber(1),
  include: someGlobs,
  exclude: someGlobs,
  layers: someLayers,
  overrides: someOverrides,
  onProgress: aFunction,
}

/**
 * Chooses for each layer how many bits it gets, so that a model within a budget loses the least. Every layer
 * is quantized by every candidate, alone; what that costs the model's guesses, in KL, is taken to add up. The
 * model stays as it is.
 *
 *     const algorithm = gptq({ bits: 4, groupSize: 32 })
 *     const { overrides } = await chooseBits(model, { algorithm, data, targetBits: 3.5 })
 *     await quantizeCalibrated(model, { algorithm, data, overrides })
 *
 * @throws ShapeError if the budget is below the smallest or above the largest choice; as `quantize` where a
 * layer cannot be quantized so
 */
export async function chooseBits(model: Module, options: ChooseBitsOptions): Promise<ChosenBits> {
  check('chooseBits', 'model', model, aModule)
  checkOptions('chooseBits', options, optionKinds)
  const { candidates: overrides = usualCandidates, signal, onProgress } = options
  checkBudgets(model, options)
  checkOverrides('chooseBits', Object.fromEntries(overrides.map((each, i) => [`candidates ${i}`, each])))
  if (overrides.length === 0) throw new ShapeError('chooseBits: candidates must hold one; it has none')
  const data = await calibrationSamples('chooseBits', model, options)
  const forward = model as Module & { forward(...args: unknown[]): unknown }
  const layers = await candidatesOf(model, {
    ...{ overrides, signal, quantization: quantizationOf([options.algorithm].flat(), options) },
    passes: data.map((sample) => () => forward.forward(...sample)),
    onProgress: (done, total, path) => onProgress?.(done, 2 * total, path),
  })
  let divergences: Divergences | null = null
  try {
    if (model instanceof CausalLM) divergences = new Divergences(model, idsOf(data), options.klSamples)
    return await choose(model, layers, divergences, options)
  } finally {
    divergences?.dispose()
    disposeCandidates(layers)
  }
}

async function choose(
  model: Module,
  layers: readonly LayerCandidates[],
  divergences: Divergences | null,
  options: ChooseBitsOptions,
): Promise<ChosenBits> {
  const { signal, onProgress } = options
  const table: LayerChoice[] = []
  for (const { path, float, candidates } of layers) {
    const choices: LayerChoice['choices'] = []
    for (const { override, twin, bits, error } of candidates) {
      signal?.throwIfAborted()
      const klDivergence = (await divergences?.of(new Map([[float, twin]]))) ?? null
      choices.push({ override, bitsPerWeight: bits / float.weight.numel, error, klDivergence })
    }
    table.push({ path, weights: float.weight.numel, choices, chosen: 0 })
    onProgress?.(layers.length + table.length, 2 * layers.length, path)
  }
  const knapsack = layers.map(({ candidates }, layer) =>
    candidates.map(({ bits, error }, i) => ({
      bits,
      loss: table[layer].choices[i].klDivergence ?? error ** 2,
    })),
  )
  const curve = assignmentCurve(knapsack)
  const measured = ({ chosen }: Assignment) =>
    divergences?.of(new Map(layers.map(({ float, candidates }, i) => [float, candidates[chosen[i]].twin]))) ??
    null
  const weights = table.reduce((sum, layer) => sum + layer.weights, 0)
  const others = otherBytes(model, layers)
  const point = ({ bits, loss }: Assignment): BitsPoint => ({
    bitsPerWeight: bits / weights,
    bytes: Math.ceil(others + bits / 8),
    loss,
  })
  const { targetBits, targetSize = 0, maxKl } = options
  const limit = targetBits === undefined ? 8 * (targetSize - others) : targetBits * weights
  const found =
    maxKl === undefined
      ? withinBits(knapsack, curve, limit, point, options)
      : await withinDivergence(curve, maxKl, measured)
  for (const [i, layer] of table.entries()) layer.chosen = found.chosen[i]
  const own = table.map(({ path, choices, chosen }): [string, LayerOverride] => [
    path,
    choices[chosen].override,
  ])
  return {
    ...point(found),
    overrides: { ...options.overrides, ...Object.fromEntries(own) },
    layers: table,
    klDivergence: (await measured(found)) ?? null,
    curve: curve.map(point),
  }
}

/** @throws ShapeError if the budget is none of this model */
function withinBits(
  knapsack: Parameters<typeof assign>[0],
  curve: readonly Assignment[],
  limit: number,
  point: (assignment: Assignment) => BitsPoint,
  { targetBits, targetSize }: ChooseBitsOptions,
): Assignment {
  const largest = knapsack.map((choices) => Math.max(...choices.map(({ bits }) => bits)))
  const most = largest.reduce((sum, bits) => sum + bits, 0)
  const found = limit > most ? null : assign(knapsack, limit)
  if (found) return found
  const [low, high] = [point(curve[0]), point({ chosen: [], bits: most, loss: 0 })]
  throw new ShapeError(
    targetBits === undefined
      ? `chooseBits: targetSize must be from ${low.bytes} bytes, the smallest choice of all layers, to ${high.bytes}, the largest; received ${targetSize}`
      : `chooseBits: targetBits must be from ${rounded(low.bitsPerWeight, Math.ceil)}, the smallest choice of all layers with its scales, to ${rounded(high.bitsPerWeight, Math.floor)}, the largest; received ${targetBits}`,
  )
}

/** The smallest assignment of a curve that loses no more, measured. @throws ShapeError if none does */
async function withinDivergence(
  curve: readonly Assignment[],
  maxKl: number,
  measured: (assignment: Assignment) => Promise<number> | null,
): Promise<Assignment> {
  const of = async (i: number) => (await measured(curve[i])) ?? Infinity
  let [low, high] = [0, curve.length - 1]
  const least = await of(high)
  if (least > maxKl)
    throw new ShapeError(
      `chooseBits: maxKl must be ${least.toPrecision(3)} or more, what the largest choice of all layers loses, the smallest ${(await of(0)).toPrecision(3)}; received ${maxKl}`,
    )
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if ((await of(middle)) <= maxKl) high = middle
    else low = middle + 1
  }
  return curve[high]
}

/** KL on some samples of token ids. */
class Divergences {
  private readonly windows: LayerDivergences[] = []

  constructor(model: CausalLM, data: readonly (readonly number[])[], count = 4) {
    for (const sample of data.slice(0, count)) this.windows.push(new LayerDivergences(model, sample))
  }

  async of(replacements: ReadonlyMap<Module, Module>): Promise<number> {
    let sum = 0
    for (const window of this.windows) sum += (await window.with(replacements)).klDivergence
    return sum / this.windows.length
  }

  dispose(): void {
    for (const window of this.windows) window.dispose()
  }
}

/** @throws ShapeError unless there is one budget, of a kind that the model has */
function checkBudgets(model: Module, { targetBits, targetSize, maxKl }: ChooseBitsOptions): void {
  const given = Object.entries({ targetBits, targetSize, maxKl }).filter(([, value]) => value !== undefined)
  if (given.length !== 1)
    throw new ShapeError(
      `chooseBits: one of targetBits, targetSize and maxKl must be given; received ${given.map(([name]) => name).join(' and ') || 'none'}`,
    )
  if (maxKl !== undefined && !(model instanceof CausalLM))
    throw new ShapeError(`chooseBits: maxKl is of a language model; received a ${model.typeName}`)
}

/** @throws ShapeError if a sample is no list of token ids */
function idsOf(data: readonly SampleArguments[]): number[][] {
  return data.map(([ids], i) => {
    if (Array.isArray(ids) || ids instanceof Int32Array) return Array.from(ids)
    throw new ShapeError(
      `chooseBits: data of a language model must be lists of token ids; sample ${i} is ${show(ids)}`,
    )
  })
}

/** Bytes of everything but the weights of these layers; a weight that another module holds, too, stays. */
function otherBytes(model: Module, layers: readonly LayerCandidates[]): number {
  const floats = new Set<Module>(layers.map(({ float }) => float))
  const kept = new Set<Parameter>()
  for (const [, module] of model.namedModules())
    for (const [name, tensor] of module.ownTensors())
      if (name !== 'weight' || !floats.has(module)) kept.add(tensor)
  return [...kept].reduce((sum, { byteLength }) => sum + byteLength, 0)
}

function rounded(bits: number, round: (x: number) => number): number {
  return round(bits * 100) / 100
}
