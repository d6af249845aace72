import { rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { LoadPlan } from '../checkpoints/plan.ts'
import { DTypeError, ShapeError } from '../core/errors.ts'
import { anyOf } from '../core/lists.ts'
import { qint2, qint3, qint4, qint8 } from '../core/qtype.ts'
import type { Device } from '../devices/device.ts'
import type { ChosenBits } from '../evaluate/chooseBits.ts'
import { ggufFile } from '../formats/containers.ts'
import { calibrationData } from '../models/calibrationData.ts'
import type { CausalLM } from '../models/causalLM.ts'
import { modelWriterFor } from '../models/modelWriters.ts'
import { quantizationOf, quantizeCalibrated } from '../models/quantizeCalibrated.ts'
import { type QuantizedFiles, schemeOfPlan } from '../models/quantizeFiles.ts'
import { algorithmsNamed, type CalibratedAlgorithmName } from '../quantize/algorithms/index.ts'
import { algorithmsOfQuality, type Quality } from '../quantize/algorithms/quality.ts'
import type { CalibratedReport } from '../quantize/calibrated/solveStage.ts'
import type { ActOrder } from '../quantize/gptqQuantizer.ts'
import { memoryFootprint } from '../quantize/quantize.ts'
import { type AlgorithmStep, algorithmSteps, type FinishedRun, workingAlgorithms } from './algorithmSteps.ts'
import { bitsByBudget, candidatesOfFormat, type QuantizesBy } from './bitsByBudget.ts'
import { readTextFile } from './input.ts'
import { interrupted } from './interrupt.ts'
import { downloadBar, loadModel, planModel } from './model.ts'
import { progressBar } from './output.ts'
import type { QuantizeCommandOptions } from './quantize.ts'
import { saveQuantized } from './saveQuantized.ts'
import { withWholeBlocks } from './wholeBlocks.ts'

/** Of `lowbit quantize`, for algorithms that see data. */
export interface DataOptions {
  calibration?: string
  samples?: number
  length?: number
  seed?: number
  packing: boolean
  symmetric?: boolean
  actOrder?: ActOrder
  resume?: boolean
  quality?: Quality
  timeLimit?: number
}

/** What became of a model, and of each layer. */
export interface QuantizedByData extends QuantizedFiles {
  model: CausalLM
  reports: CalibratedReport[]
  /** How many bits layers were given, where a budget was. */
  chosen: ChosenBits | null
  /** Tokens that passed through it, in so many samples. */
  tokens: number
  samples: number
  /** The algorithms that layers were solved by, without those that train what was solved. */
  solvedBy: string[]
  /** What each algorithm bought, where a report tells it. */
  steps: AlgorithmStep[] | null
}

/** Quantizes a model by what passes through it, and saves it. */
export async function quantizeByData(
  path: string,
  device: Device,
  names: readonly CalibratedAlgorithmName[],
  options: QuantizeCommandOptions,
): Promise<QuantizedByData> {
  const { weights, groupSize, symmetric, activations, actOrder, out } = options
  refuseTypes(names, options)
  if (!weights) candidatesOfFormat(options, names)
  // Where bits are chosen by a budget, these are the type that is said to differ.
  const type = typeof weights === 'string' ? weights : undefined
  const bits = typeof weights === 'object' ? weights.bits : 4
  const settings = { bits, type, groupSize, symmetric, actOrder, activations }
  const { quality, timeLimit } = options
  const algorithm = quality
    ? await algorithmsOfQuality(quality, settings, timeLimit)
    : await algorithmsNamed(names, settings)
  const planned = await layersOf(path, { names, algorithm }, options)
  const model = await loadModel(path, device, options, { dequantize: true, prepareTokenizer: true })
  const floatBytes = memoryFootprint(model)
  const data = await readSamples(model, names, options)
  const budget = { ...options, ...planned }
  const chosen = weights ? null : await bitsByBudget(model, { names, algorithm }, data, budget)
  const layers = { ...planned, ...(chosen && { overrides: chosen.overrides }) }
  const bar = await progressBar(names.join(' '), options)
  const resume = options.resume ? finishedBlocks(out) : undefined
  const reports = await quantizeCalibrated(model, {
    ...{ algorithm, ...layers, data, resume },
    signal: interrupted,
    onWarning: (message) => console.warn(`lowbit: ${message}`),
    onProgress: ({ block, blocks, done }) => bar.update(done, 1, `block ${block} of ${blocks}`),
  }).finally(bar.stop)
  const saved = await saveQuantized(model, options)
  if (resume) await rm(resume, { recursive: true, force: true })
  const tokens = data.reduce((sum, ids) => sum + ids.length, 0)
  const steps =
    options.report === undefined
      ? null
      : await stepsOf(path, device, { model, algorithms: algorithm, data, layers }, options)
  const solving = workingAlgorithms(algorithm).filter(({ finish }) => !finish)
  const solvedBy = solving.length > 0 ? solving.map(({ name }) => name) : [...names]
  return { model, floatBytes, ...saved, reports, chosen, tokens, samples: data.length, solvedBy, steps }
}

/** What each algorithm bought, for a report. */
async function stepsOf(
  path: string,
  device: Device,
  run: FinishedRun,
  options: QuantizeCommandOptions,
): Promise<AlgorithmStep[]> {
  const bar = await progressBar('what each algorithm bought', options)
  const load = () => loadModel(path, device, { ...options, json: true }, { dequantize: true })
  return algorithmSteps(load, run, bar.update).finally(bar.stop)
}

/** @throws DTypeError if the algorithms do not have this type */
function refuseTypes(names: readonly CalibratedAlgorithmName[], { weights }: QuantizeCommandOptions): void {
  if (names.includes('imatrix') && (!weights || typeof weights === 'string')) return
  const types = names.includes('smoothQuant') ? [qint8] : [qint2, qint3, qint4, qint8]
  if (weights ? typeof weights === 'object' && types.includes(weights) : types.length > 1) return
  const known = names.includes('imatrix')
    ? "GGUF's types, such as q4_k"
    : anyOf(types.map(({ bits }) => `int${bits}`))
  const name = typeof weights === 'string' ? weights.toLowerCase() : weights?.name
  const received = name ? `--weights ${name}` : 'a budget for several'
  throw new DTypeError(
    `quantize: --algorithm ${names.join(',')} takes weights of ${known}; received ${received}`,
  )
}

/** Where finished blocks are kept until the folder is there: beside it. */
function finishedBlocks(out: string): string {
  const folder = resolve(out)
  return join(dirname(folder), `.${basename(folder)}.unfinished`)
}

/**
 * Which layers are quantized. Asked first: a format that cannot hold what comes out, of a budget every
 * candidate, should not cost the work.
 * @throws FormatError if it cannot
 */
async function layersOf(
  path: string,
  { names, algorithm }: QuantizesBy,
  given: QuantizeCommandOptions,
): Promise<Pick<QuantizeCommandOptions, 'include' | 'exclude' | 'overrides'>> {
  const { format, actOrder, weights } = given
  const planned = async <T>(use: (plan: LoadPlan<CausalLM>) => Promise<T>) => {
    const plan = await planModel(path, given)
    return use(plan).finally(async () => {
      await plan.close()
      plan.model.dispose()
    })
  }
  const options = await planned(async ({ model }) => {
    if (format === 'gguf') await modelWriterFor(ggufFile, model)
    return withWholeBlocks(model, given)
  })
  const { include, exclude } = options
  const layers = (overrides = options.overrides) => ({ include, exclude, overrides })
  // GGUF holds its own types.
  if (names.includes('imatrix')) return layers()
  const candidates = weights ? [] : candidatesOfFormat(given, names)
  const each = candidates.map((candidate) => ({ ...options.overrides, '*': candidate }))
  for (const overrides of candidates.length > 0 ? each : [options.overrides])
    await planned((plan) =>
      schemeOfPlan(plan, quantizationOf(algorithm, layers(overrides)), {
        ...{ format, reordered: actOrder === true },
      }),
    )
  return layers()
}

/** The tokens of a sample of each library: AutoAWQ's are shorter than GPTQ's. */
const usualLength = { awq: 512, others: 2048 }

async function readSamples(
  model: CausalLM,
  names: readonly CalibratedAlgorithmName[],
  options: QuantizeCommandOptions,
): Promise<number[][]> {
  const { calibration = '', samples, seed, packing } = options
  const usual = names.includes('awq') ? usualLength.awq : usualLength.others
  const { maxPositions } = model.config
  const { length = Math.min(usual, maxPositions) } = options
  if (length > maxPositions)
    throw new ShapeError(
      `quantize: --length must be within the model's context of ${maxPositions} tokens; received ${length}`,
    )
  const source = calibration === '-' ? [await readTextFile('-')] : calibration
  const bar = await downloadBar(options)
  const data = await calibrationData(source, {
    ...{ tokenizer: model.tokenizer, samples, length, seed, packing },
    ...{ signal: interrupted, onDownload: bar.update },
  }).finally(bar.stop)
  if (samples !== undefined && data.length < samples)
    console.warn(
      `lowbit: ${calibration}: ${samples} samples of ${length} tokens were asked for; it has ${data.length}`,
    )
  return data
}
