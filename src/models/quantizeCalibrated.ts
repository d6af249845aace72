import { scratchFile } from '#files'
import { host } from '#host'
import { ShapeError } from '../core/errors.ts'
import {
  aFunction,
  anObject,
  aSignal,
  aString,
  atLeast,
  check,
  either,
  type Kind,
  listOf,
} from '../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../core/options.ts'
import { aModule, type Module } from '../nn/module.ts'
import { anAlgorithm, type CalibratedAlgorithm, checkAlgorithm } from '../quantize/calibrated/algorithm.ts'
import type { FinishedStages } from '../quantize/calibrated/finishedStages.ts'
import type { CalibratedProgress } from '../quantize/calibrated/progress.ts'
import type { RunOptions } from '../quantize/calibrated/run.ts'
import type { CalibratedReport } from '../quantize/calibrated/solveStage.ts'
import { checkQuantizeOptions, someGlobs, someLayers } from '../quantize/options.ts'
import { someOverrides } from '../quantize/overrides.ts'
import type { QuantizeOptions } from '../quantize/quantize.ts'
import {
  type CalibrationSamplesOptions,
  calibrationSamples,
  calibrationSamplesKinds,
} from './calibrationSamples.ts'

/** How `quantizeCalibrated` quantizes a model. */
export interface CalibratedOptions
  extends Pick<QuantizeOptions, 'include' | 'exclude' | 'layers' | 'overrides'>,
    CalibrationSamplesOptions {
  /** What chooses codes, scales and the floats before them; several in the order in which they do it. */
  algorithm: CalibratedAlgorithm | readonly CalibratedAlgorithm[]
  /**
   * Modules that are quantized one after the other, each from what the quantized ones before it give: glob or
   * list of globs; none, `[]`, takes the model as one. Default: the longest chain of modules of one class of
   * which each takes what the one before gives, such as the layers of a decoder.
   */
  blocks?: string | readonly string[]
  /** Where lies what blocks take and give while the others wait. */
  scratch?: ScratchOptions
  /**
   * A folder that keeps each block once it is quantized, made where it is not there: a run that was ended or
   * killed goes on there, and gives the same bytes in the end. In Node only.
   */
  resume?: string
  /** Ends the run between two samples; the model is then as it was. */
  signal?: AbortSignal
  /** Told after each pass of a sample how far the run has come. */
  onProgress?: (progress: CalibratedProgress) => void
  /** Default: `console.warn`. */
  onWarning?: (message: string) => void
}

/** Where hidden states lie. */
export interface ScratchOptions {
  /**
   * Bytes of them that memory holds; what is beyond lies in a file, in Node. Default: 32 MiB, and all of
   * them in a browser.
   */
  maxBytes?: number
  /** The folder of that file, which has no name and is gone with the run; default: that of temporary files. */
  folder?: string
}

const scratchKinds: OptionKinds<ScratchOptions> = { maxBytes: atLeast(0), folder: aString }

const algorithms: Kind = either(anAlgorithm.must, anAlgorithm, listOf('algorithms', anAlgorithm))

const optionKinds: OptionKinds<CalibratedOptions> = {
  algorithm: required(algorithms),
  ...calibrationSamplesKinds,
  include: someGlobs,
  exclude: someGlobs,
  layers: someLayers,
  overrides: someOverrides,
  blocks: someGlobs,
  scratch: anObject,
  resume: aString,
  signal: aSignal,
  onProgress: aFunction,
  onWarning: aFunction,
}

/**
 * Quantizes a model in place by what passes through it, block by block: the layers of a block are solved from
 * what they take, and what the quantized block gives is what the next one takes. Afterwards the model holds
 * codes, as after `freeze`. Where something fails the model is as it was.
 *
 *     await quantizeCalibrated(model, { algorithm: gptq({ bits: 4 }), data: windowsOfIds })
 *
 * @returns what became of each layer, in the order in which they were solved
 * @throws ShapeError if there is no data, no layer, or a layer that the data never reaches; DTypeError if
 * activations are not finite; the signal's reason when aborted
 */
export async function quantizeCalibrated(
  model: Module,
  options: CalibratedOptions,
): Promise<CalibratedReport[]> {
  check('quantizeCalibrated', 'model', model, aModule)
  checkOptions('quantizeCalibrated', options, optionKinds)
  const { blocks, scratch, resume, signal, onProgress } = options
  checkOptions('quantizeCalibrated: scratch', scratch, scratchKinds)
  const list = [options.algorithm].flat()
  for (const algorithm of list) checkAlgorithm('quantizeCalibrated', algorithm)
  signal?.throwIfAborted()
  const data = await calibrationSamples('quantizeCalibrated', model, options)
  const run: RunOptions = {
    algorithms: list,
    samples: data,
    quantization: quantizationOf(list, options),
    blocks: blocks === undefined ? undefined : [blocks].flat(),
    scratch: {
      maxBytes: scratch?.maxBytes ?? (host.platform === null ? Infinity : 2 ** 25),
      open: () => scratchFile(scratch?.folder),
    },
    signal,
    onProgress,
    onWarning: options.onWarning ?? ((message) => console.warn(`lowbit: ${message}`)),
  }
  const finished = resume === undefined ? undefined : await finishedStages(resume, model, run)
  const { runCalibrated } = await import('../quantize/calibrated/run.ts')
  return await runCalibrated(model as Module & { forward(): unknown }, { ...run, finished })
}

/** What a folder keeps of the same run. @throws FormatError if it is of another */
async function finishedStages(folder: string, model: Module, run: RunOptions): Promise<FinishedStages> {
  const { digestsOf } = await import('./runDigests.ts')
  const { calibratedFolder } = await import('./calibratedFolder.ts')
  const [tensor] = model.parameters()
  return calibratedFolder(folder, tensor.device, await digestsOf(model, run))
}

/** What `quantize` is told: the options of the algorithms, and which layers. */
export function quantizationOf(
  list: readonly CalibratedAlgorithm[],
  {
    include,
    exclude,
    layers,
    overrides,
  }: Pick<CalibratedOptions, 'include' | 'exclude' | 'layers' | 'overrides'>,
): QuantizeOptions {
  const solvers = list.filter(({ quantizer }) => quantizer)
  if (solvers.length > 1)
    throw new ShapeError(
      `quantizeCalibrated: one algorithm of a list may solve layers; received ${solvers.map(({ name }) => name).join(' and ')}`,
    )
  const said: Partial<QuantizeOptions> = Object.assign({}, ...list.map(({ options }) => options))
  if (said.weights === undefined)
    throw new ShapeError(
      `quantizeCalibrated: an algorithm must say what weights become; received ${list.map(({ name }) => name).join(', ') || 'none'}`,
    )
  const given = Object.entries({ include, exclude, layers, overrides }).filter(
    ([, value]) => value !== undefined,
  )
  const options = { ...said, ...Object.fromEntries(given) } as QuantizeOptions
  if (solvers.length > 0) options.algorithm = solvers[0].quantizer
  checkQuantizeOptions('quantizeCalibrated', options)
  return options
}
