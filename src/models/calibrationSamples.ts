import { ShapeError } from '../core/errors.ts'
import { aList, aSignal, aString, either, show } from '../core/kinds.ts'
import { type OptionKinds, required } from '../core/options.ts'
import type { Module } from '../nn/module.ts'
import type { SampleArguments } from '../quantize/calibrated/stage.ts'
import { Tensor } from '../tensor/tensor.ts'
import {
  areTexts,
  aTokenizer,
  type CalibrationSource,
  calibrationData,
  type SamplingOfTexts,
  samplingOfTextsKinds,
} from './calibrationData.ts'
import { Pretrained } from './pretrained.ts'
import type { Tokenizer } from './tokenizer.ts'

/** What passes through a model: token ids, a tensor, or the arguments of `forward` in a list. */
export type CalibrationSample = readonly number[] | Int32Array | Tensor | readonly unknown[]

/** Samples as they are, or texts of which they are made. */
export interface CalibrationSamplesOptions extends SamplingOfTexts {
  /**
   * What passes through the model: samples as they are, or texts, of which `calibrationData` makes samples; by
   * default no longer than the model's context.
   */
  data: CalibrationSource | readonly CalibrationSample[]
  /** What makes token ids of texts; default: the model's own. */
  tokenizer?: Tokenizer | null
  /** Ends reading, and what follows it. */
  signal?: AbortSignal
}

export const calibrationSamplesKinds: OptionKinds<CalibrationSamplesOptions> = {
  data: required(either('be a list, a name or a path', aList, aString)),
  ...samplingOfTextsKinds,
  tokenizer: aTokenizer,
  signal: aSignal,
}

/**
 * What `forward` takes of each sample.
 *
 * @throws ShapeError if there is none, if one is no sample, or longer than the model's context
 */
export async function calibrationSamples(
  operation: string,
  model: Module,
  options: CalibrationSamplesOptions,
): Promise<SampleArguments[]> {
  const { data, signal, samples, length, seed, packing } = options
  if (data.length === 0) throw new ShapeError(`${operation}: data must hold a sample; it has none`)
  const cuts = [samples, length, seed, packing].some((option) => option !== undefined)
  if (!areTexts(data) && !cuts) return data.map((sample, i) => argumentsOf(operation, sample, i))
  const { tokenizer, contextLength } = languageOf(model)
  if (length !== undefined && length > contextLength)
    throw new ShapeError(
      `${operation}: samples must fit into the model's context of ${contextLength} tokens; received a length of ${length}`,
    )
  const ids = await calibrationData(data as CalibrationSource, {
    ...{ samples, seed, packing, signal, tokenizer: options.tokenizer ?? tokenizer },
    length: length ?? Math.min(2048, contextLength),
  })
  return ids.map((sample) => [sample])
}

/** The tokenizer of a language model, and how many tokens it takes. */
function languageOf(model: Module): { tokenizer: Tokenizer | null; contextLength: number } {
  if (!(model instanceof Pretrained)) return { tokenizer: null, contextLength: Infinity }
  const { maxPositions } = model.config as { maxPositions?: number }
  return { tokenizer: model.tokenizer, contextLength: maxPositions ?? Infinity }
}

function argumentsOf(operation: string, sample: CalibrationSample, i: number): SampleArguments {
  const isIds = ArrayBuffer.isView(sample) || (Array.isArray(sample) && typeof sample[0] === 'number')
  if (isIds || sample instanceof Tensor) return [sample]
  if (Array.isArray(sample) && sample.length > 0) return sample
  throw new ShapeError(
    `${operation}: data must be a list of token ids, tensors or lists of arguments; sample ${i} is ${show(sample)}`,
  )
}
