import { perplexity } from '../evaluate/perplexity.ts'
import type { CausalLM } from '../models/causalLM.ts'
import { type CalibratedOptions, quantizationOf, quantizeCalibrated } from '../models/quantizeCalibrated.ts'
import type { CalibratedAlgorithm } from '../quantize/calibrated/algorithm.ts'
import { interrupted } from './interrupt.ts'

/** What a model has lost once an algorithm has done its work; the first has only been rounded. */
export interface AlgorithmStep {
  name: string
  /** Mean KL(float ‖ quantized) of its guesses, in nats. */
  klDivergence: number
}

/** Samples that are looked at, and tokens of each at most. */
const [seenSamples, seenTokens] = [4, 256]

type Layers = Pick<CalibratedOptions, 'include' | 'exclude' | 'overrides'>

/** A run of which the last algorithm's model is there already. */
export interface FinishedRun {
  model: CausalLM
  algorithms: readonly CalibratedAlgorithm[]
  data: readonly (readonly number[])[]
  layers: Layers
}

/** Those of a list that do something beside saying what weights become. */
export function workingAlgorithms(list: readonly CalibratedAlgorithm[]): CalibratedAlgorithm[] {
  return list.filter(
    ({ quantizer, prepare, block, finish, options }) =>
      quantizer || prepare || block || finish || options?.activations,
  )
}

/**
 * What each algorithm of a list bought: the model is quantized again without the last, without the last two,
 * and so on, and by rounding alone.
 * @param load the float model, anew each time
 */
export async function algorithmSteps(
  load: () => Promise<CausalLM>,
  { model, algorithms, data, layers }: FinishedRun,
  onProgress?: (done: number, total: number) => void,
): Promise<AlgorithmStep[]> {
  using float = await load()
  const windows = data.slice(0, seenSamples).map((ids) => ids.slice(0, seenTokens))
  const context = Math.min(...windows.map((ids) => ids.length))
  const lost = async (one: CausalLM) => {
    const ids = windows.flatMap((window) => window.slice(0, context))
    const measured = await perplexity(one, ids, { context, baseline: float, signal: interrupted })
    return measured.klDivergence ?? Number.NaN
  }
  const { algorithm: _, activations: __, ...options } = quantizationOf(algorithms, {})
  const rounding: CalibratedAlgorithm = { name: 'rounded to nearest', options }
  const steps: AlgorithmStep[] = []
  const working = workingAlgorithms(algorithms)
  for (let count = 0; count < working.length; count++) {
    onProgress?.(count, working.length)
    const list = [rounding, ...working.slice(0, count)]
    using one = await load()
    const run = { ...layers, algorithm: list, data, signal: interrupted, onWarning: () => {} }
    await quantizeCalibrated(one, run)
    steps.push({ name: list[count].name, klDivergence: await lost(one) })
  }
  steps.push({ name: working[working.length - 1].name, klDivergence: await lost(model) })
  return steps
}
