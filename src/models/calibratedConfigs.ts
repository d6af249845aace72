import {
  aBoolean,
  aFunction,
  aList,
  aNumber,
  anObject,
  aString,
  either,
  type Kind,
  listOf,
  oneOf,
  orNull,
  wholeNumber,
  within,
} from '../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../core/options.ts'
import type { CalibratedProgress } from '../quantize/calibrated/progress.ts'
import { inOurNames } from '../quantize/pythonNames.ts'
import {
  aTokenizer,
  type CalibrationSource,
  type SamplingOfTexts,
  samplingOfTextsKinds,
} from './calibrationData.ts'
import type { Tokenizer } from './tokenizer.ts'

/*
 * GPTQ and AWQ while a model is loaded, in the words of transformers' GPTQConfig and AwqConfig, and of
 * AutoAWQ's `quantize`. Source: transformers 5, utils/quantization_config.py; autoawq 0.2.9.
 */

/** On what a model is calibrated while it is loaded, and which of its layers are quantized. */
export interface CalibratedConfig extends SamplingOfTexts {
  /** What the model is calibrated on: `wikitext2`, `c4`, `pileval`, a file, or texts. */
  dataset: CalibrationSource | 'c4-new'
  /** What makes token ids of it, or the folder or hub id that it is in; default: the model's own. */
  tokenizer?: Tokenizer | string | null
  /** Columns that share a scale; -1: the row. Default 128. */
  groupSize?: number
  /** Globs of the layers that are quantized; default: all linear layers of the decoder's layers. */
  include?: string | readonly string[]
  /** Globs of layers that stay float. */
  exclude?: string | readonly string[]
  /** Called as the run goes on. */
  onProgress?: (progress: CalibratedProgress) => void
  /**
   * Which of Python's kernels multiply: here one kernel reads all of these codes, and it changes nothing. So
   * do `useExllama`, `disableExllama`, `exllamaConfig` and `useCudaFp16`.
   */
  backend?: string | null
  useExllama?: boolean | null
  disableExllama?: boolean | null
  exllamaConfig?: object | null
  useCudaFp16?: boolean
  /** How large Python's buffers are. Here samples pass one by one, and these four change nothing. */
  maxInputLength?: number | null
  batchSize?: number
  padTokenId?: number | null
  cacheBlockOutputs?: boolean
}

/** How GPTQ quantizes while loading, in the words of transformers' `GPTQConfig`; its own spelling is taken, too. */
export interface GptqConfig extends CalibratedConfig {
  bits: number
  /** What is added to the diagonal of the second derivatives, as a share of its mean; default 0.1. */
  dampPercent?: number
  /** Whether columns are solved, and share scales, in the order of what they multiply; default false. */
  descAct?: boolean
  /** Where `descAct` is false: whether they are solved in an order that keeps groups together; default true. */
  actGroupAware?: boolean
  /** Whether zero points are the middle of the codes; default true. */
  sym?: boolean
  /** Whether the layers of a block are solved one after the other; default true. */
  trueSequential?: boolean
  /** Tokens of a sample; default 2048, or the model's context. The same as `length`. */
  modelSeqlen?: number | null
  /** The list of blocks, such as `model.layers`; default: it is found. */
  blockNameToQuantize?: string | null
  /** Layers of a block that are quantized; the lists are in the order of the calls anyway. */
  modulesInBlockToQuantize?: readonly (readonly string[])[] | null
  /** What stands before the blocks: it is found. */
  moduleNamePrecedingFirstBlock?: readonly string[] | null
  /** How the model is to be saved: `save(model, folder, { format })` says it. */
  format?: 'gptq' | 'gptq_v2'
  meta?: object | null
}

/** How AWQ quantizes while loading, in the words of transformers' `AwqConfig` and of AutoAWQ's `quantize`. */
export interface AwqConfig extends CalibratedConfig {
  /** Default 4. */
  bits?: number
  /** Whether ranges have zero points; default true. */
  zeroPoint?: boolean
  /** Whether scales follow what weights are, too, and not only what they multiply; default true. */
  duoScaling?: boolean
  /** Whether ranges are clipped where that makes the error smaller; default true. */
  clip?: boolean
  /** Layers that stay float: parts of their paths. */
  modulesToNotConvert?: readonly string[] | null
  /** How the model is to be saved: `save(model, folder, { format })` says it. */
  version?: 'gemm' | 'gemv' | 'gemv_fast' | 'llm-awq'
}

/** A method that sees data while a model is loaded, by its library's name. */
export type CalibratedQuantization =
  | ({ method: 'gptq' } & (GptqConfig | PythonConfig<GptqConfig, typeof gptqNames>))
  | ({ method: 'awq' } & (AwqConfig | PythonConfig<AwqConfig, typeof awqNames>))

/** The same options by Python's names. */
type PythonConfig<Config, Names extends Readonly<Record<string, keyof Config>>> = Omit<
  Config,
  Names[keyof Names]
> & {
  [Name in keyof Names]?: Config[Names[Name]]
}

const commonNames = {
  group_size: 'groupSize',
  use_exllama: 'useExllama',
  disable_exllama: 'disableExllama',
  exllama_config: 'exllamaConfig',
  use_cuda_fp16: 'useCudaFp16',
  max_input_length: 'maxInputLength',
  batch_size: 'batchSize',
  pad_token_id: 'padTokenId',
  cache_block_outputs: 'cacheBlockOutputs',
} as const

const gptqNames = {
  ...commonNames,
  damp_percent: 'dampPercent',
  desc_act: 'descAct',
  act_group_aware: 'actGroupAware',
  true_sequential: 'trueSequential',
  model_seqlen: 'modelSeqlen',
  block_name_to_quantize: 'blockNameToQuantize',
  modules_in_block_to_quantize: 'modulesInBlockToQuantize',
  module_name_preceding_first_block: 'moduleNamePrecedingFirstBlock',
  checkpoint_format: 'format',
} as const

const awqNames = {
  ...commonNames,
  w_bit: 'bits',
  q_group_size: 'groupSize',
  zero_point: 'zeroPoint',
  duo_scaling: 'duoScaling',
  apply_clip: 'clip',
  modules_to_not_convert: 'modulesToNotConvert',
  calib_data: 'dataset',
  max_calib_samples: 'samples',
  max_calib_seq_len: 'length',
} as const

const globs = either('be a glob or a list of globs', aString, listOf('globs', aString))
const aGroupSize: Kind = {
  must: 'be a whole number from 1 up, or -1 for rows',
  holds: (value) => value === -1 || wholeNumber(1).holds(value),
}

const someBits: Kind = {
  must: 'be 2, 3, 4 or 8',
  holds: (value) => [2, 3, 4, 8].some((bits) => bits === value),
}

const configKinds: OptionKinds<CalibratedConfig> = {
  ...samplingOfTextsKinds,
  dataset: required(either('be wikitext2, c4, pileval, a file or a list of texts', aString, aList)),
  tokenizer: either('be a tokenizer, or the folder or hub id that it is in', aTokenizer, aString),
  groupSize: aGroupSize,
  include: globs,
  exclude: globs,
  onProgress: aFunction,
  backend: orNull(aString),
  useExllama: orNull(aBoolean),
  disableExllama: orNull(aBoolean),
  exllamaConfig: orNull(anObject),
  useCudaFp16: aBoolean,
  maxInputLength: orNull(aNumber),
  batchSize: wholeNumber(1),
  padTokenId: orNull(aNumber),
  cacheBlockOutputs: aBoolean,
}

const gptqKinds: OptionKinds<GptqConfig> = {
  ...configKinds,
  bits: required(someBits),
  dampPercent: within(0, 1),
  descAct: aBoolean,
  actGroupAware: aBoolean,
  sym: aBoolean,
  trueSequential: aBoolean,
  modelSeqlen: orNull(wholeNumber(2)),
  blockNameToQuantize: orNull(aString),
  modulesInBlockToQuantize: orNull(listOf('lists of names', listOf('names', aString))),
  moduleNamePrecedingFirstBlock: orNull(aList),
  format: oneOf('gptq', 'gptq_v2'),
  meta: orNull(anObject),
}

const awqKinds: OptionKinds<AwqConfig> = {
  ...configKinds,
  bits: someBits,
  zeroPoint: aBoolean,
  duoScaling: aBoolean,
  clip: aBoolean,
  modulesToNotConvert: orNull(listOf('names', aString)),
  version: oneOf('gemm', 'gemv', 'gemv_fast', 'llm-awq'),
}

/**
 * GPTQ's options by lowbit's names.
 * @throws ShapeError or DTypeError for options that there are not, that are given twice, or that are missing
 */
export function checkGptqConfig(operation: string, options: unknown): GptqConfig {
  const config = inOurNames(operation, options, gptqNames) as unknown as GptqConfig
  checkOptions(operation, config, gptqKinds)
  return config
}

/** The same of AWQ's. */
export function checkAwqConfig(operation: string, options: unknown): AwqConfig {
  const config = inOurNames(operation, options, awqNames) as unknown as AwqConfig
  checkOptions(operation, config, awqKinds)
  return config
}
