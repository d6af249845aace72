import { rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { DTypeError, ShapeError } from '../core/errors.ts'
import { anyOf } from '../core/lists.ts'
import { qint2, qint3, qint4, qint8 } from '../core/qtype.ts'
import type { Device } from '../devices/device.ts'
import type { ChosenBits } from '../evaluate/chooseBits.ts'
import { calibrationData } from '../models/calibrationData.ts'
import type { CausalLM } from '../models/causalLM.ts'
import { quantizationOf, quantizeCalibrated } from '../models/quantizeCalibrated.ts'
import { type QuantizedFiles, schemeOfPlan } from '../models/quantizeFiles.ts'
import { algorithmsNamed, type CalibratedAlgorithmName } from '../quantize/algorithms/index.ts'
import { algorithmsOfQuality, type Quality } from '../quantize/algorithms/quality.ts'
import type { CalibratedAlgorithm } from '../quantize/calibrated/algorithm.ts'
import type { CalibratedReport } from '../quantize/calibrated/solveStage.ts'
import type { ActOrder } from '../quantize/gptqQuantizer.ts'
import { memoryFootprint } from '../quantize/quantize.ts'
import { bitsByBudget, candidateBits } from './bitsByBudget.ts'
import { readTextFile } from './input.ts'
import { interrupted } from './interrupt.ts'
import { downloadBar, loadModel, planModel } from './model.ts'
import { progressBar } from './output.ts'
import type { QuantizeCommandOptions } from './quantize.ts'
import { saveQuantized } from './saveQuantized.ts'

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
}

/** Quantizes a model by what passes through it, and saves it. */
export async function quantizeByData(
  path: string,
  device: Device,
  names: readonly CalibratedAlgorithmName[],
  options: QuantizeCommandOptions,
): Promise<QuantizedByData> {
  const { weights, groupSize, symmetric, activations, actOrder, format, out } = options
  refuseTypes(names, options)
  if (!weights) candidateBits(format)
  // Where bits are chosen by a budget, these are the type that is said to differ.
  const settings = { bits: weights?.bits ?? 4, groupSize, symmetric, actOrder, activations }
  const { quality, timeLimit } = options
  const algorithm = quality
    ? await algorithmsOfQuality(quality, settings, timeLimit)
    : await algorithmsNamed(names, settings)
  await refuseFormat(path, algorithm, options)
  const model = await loadModel(path, device, options, { dequantize: true, prepareTokenizer: true })
  const floatBytes = memoryFootprint(model)
  const data = await readSamples(model, names, options)
  const chosen = weights ? null : await bitsByBudget(model, algorithm, data, options)
  const bar = await progressBar(names.join(' '), options)
  const { include, exclude } = options
  const resume = options.resume ? finishedBlocks(out) : undefined
  const reports = await quantizeCalibrated(model, {
    ...{ algorithm, include, exclude, data, resume, overrides: chosen?.overrides },
    signal: interrupted,
    onWarning: (message) => console.warn(`lowbit: ${message}`),
    onProgress: ({ block, blocks, done }) => bar.update(done, 1, `block ${block} of ${blocks}`),
  }).finally(bar.stop)
  const saved = await saveQuantized(model, options)
  if (resume) await rm(resume, { recursive: true, force: true })
  const tokens = data.reduce((sum, ids) => sum + ids.length, 0)
  return { model, floatBytes, ...saved, reports, chosen, tokens, samples: data.length }
}

/** @throws DTypeError if the algorithms do not have this type */
function refuseTypes(names: readonly CalibratedAlgorithmName[], { weights }: QuantizeCommandOptions): void {
  const types = names.includes('smoothQuant') ? [qint8] : [qint2, qint3, qint4, qint8]
  if (weights ? types.includes(weights) : types.length > 1) return
  const known = anyOf(types.map(({ bits }) => `int${bits}`))
  const received = weights ? `--weights ${weights.name}` : 'a budget for several'
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
 * Asked first: a format that cannot hold what comes out should not cost the work.
 * @throws FormatError if it cannot
 */
async function refuseFormat(
  path: string,
  algorithm: readonly CalibratedAlgorithm[],
  options: QuantizeCommandOptions,
): Promise<void> {
  const { format, actOrder } = options
  const plan = await planModel(path, options)
  try {
    const quantization = quantizationOf(algorithm, options)
    await schemeOfPlan(plan, quantization, { format, reordered: actOrder === true })
  } finally {
    await plan.close()
    plan.model.dispose()
  }
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
