import { ShapeError } from '../core/errors.ts'
import { aBoolean, aString, atLeast, either, listOf, oneOf, orNull } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { qint8 } from '../core/qtype.ts'
import { Conv1D } from '../nn/gptConv1D.ts'
import { Linear } from '../nn/linear.ts'
import type { Module } from '../nn/module.ts'
import { codebook, doubleQuant } from './codebook.ts'
import { llmInt8 } from './llmInt8.ts'
import { inOurNames } from './pythonNames.ts'
import type { QuantizeOptions } from './quantize.ts'

/**
 * How bitsandbytes quantizes, in the words of transformers' `BitsAndBytesConfig`, whose own spelling is
 * taken, too.
 */
export interface BitsAndBytesOptions {
  /** Weights of 4 bits: NF4 or FP4. */
  loadIn4bit?: boolean
  /** Weights of 8 bits, and products as LLM.int8 computes them. One of the two has to be true. */
  loadIn8bit?: boolean
  /** The type of weights of 4 bits; default `fp4`, as in Python. */
  bnb4bitQuantType?: 'nf4' | 'fp4'
  /** Quantizes the scales of 4 bits once more. Default false. */
  bnb4bitUseDoubleQuant?: boolean
  /** What Python computes products of 4 bits in; here they are float32, whichever it is. */
  bnb4bitComputeDtype?: 'float32' | 'float16' | 'bfloat16'
  /** How Python keeps the codes of 4 bits: as bytes. */
  bnb4bitQuantStorage?: 'uint8'
  /** The magnitude from which LLM.int8 multiplies a column of inputs as floats; default 6; 0: never. */
  threshold?: number
  /** Of LLM.int8, whether Python keeps the float weights, to train them; here false. */
  hasFp16Weight?: false
  /**
   * Layers that stay float: paths, or their beginnings or ends. Default: the head, and what shares its weight
   * with another layer.
   */
  skipModules?: readonly string[] | null
  /**
   * Layers that stay float, and are float32 whatever the others are: paths, or their beginnings or ends.
   * Python takes true, and the names from the `device_map`.
   */
  fp32Offload?: readonly string[] | boolean
}

/** The same by Python's names. */
export interface PythonBitsAndBytesOptions {
  load_in_4bit?: boolean
  load_in_8bit?: boolean
  bnb_4bit_quant_type?: BitsAndBytesOptions['bnb4bitQuantType']
  bnb_4bit_use_double_quant?: boolean
  bnb_4bit_compute_dtype?: BitsAndBytesOptions['bnb4bitComputeDtype']
  bnb_4bit_quant_storage?: BitsAndBytesOptions['bnb4bitQuantStorage']
  llm_int8_threshold?: number
  llm_int8_has_fp16_weight?: false
  llm_int8_skip_modules?: readonly string[] | null
  llm_int8_enable_fp32_cpu_offload?: BitsAndBytesOptions['fp32Offload']
}

const paths = listOf('paths', aString)

const optionKinds: OptionKinds<BitsAndBytesOptions> = {
  loadIn4bit: aBoolean,
  loadIn8bit: aBoolean,
  bnb4bitQuantType: oneOf('nf4', 'fp4'),
  bnb4bitUseDoubleQuant: aBoolean,
  bnb4bitComputeDtype: oneOf('float32', 'float16', 'bfloat16'),
  bnb4bitQuantStorage: oneOf('uint8'),
  threshold: atLeast(0),
  hasFp16Weight: { must: 'be false: float weights are not kept', holds: (value) => value === false },
  skipModules: orNull(paths),
  fp32Offload: either('be a list of paths or a boolean', paths, aBoolean),
}

/** Python's names of the options. */
const pythonNames: Readonly<Record<keyof PythonBitsAndBytesOptions, keyof BitsAndBytesOptions>> = {
  load_in_4bit: 'loadIn4bit',
  load_in_8bit: 'loadIn8bit',
  bnb_4bit_quant_type: 'bnb4bitQuantType',
  bnb_4bit_use_double_quant: 'bnb4bitUseDoubleQuant',
  bnb_4bit_compute_dtype: 'bnb4bitComputeDtype',
  bnb_4bit_quant_storage: 'bnb4bitQuantStorage',
  llm_int8_threshold: 'threshold',
  llm_int8_has_fp16_weight: 'hasFp16Weight',
  llm_int8_skip_modules: 'skipModules',
  llm_int8_enable_fp32_cpu_offload: 'fp32Offload',
}

/**
 * The options by lowbit's names.
 * @throws ShapeError or DTypeError for options that there are not, or that are given twice
 */
export function checkBitsAndBytes(operation: string, options: unknown): BitsAndBytesOptions {
  const checked = inOurNames(operation, options, pythonNames) as unknown as BitsAndBytesOptions
  checkOptions(operation, checked, optionKinds)
  const { loadIn4bit = false, loadIn8bit = false } = checked
  if (loadIn4bit === loadIn8bit)
    throw new ShapeError(
      `${operation}: one of loadIn4bit and loadIn8bit must be true; ${loadIn4bit ? 'both are' : 'neither is'}`,
    )
  return checked
}

/**
 * What `quantize` does for them: the linear layers of a model, except those that transformers leaves out; of
 * 4 bits in blocks of 64.
 */
export function bitsandbytesOptions(model: Module, options: BitsAndBytesOptions): QuantizeOptions {
  const { bnb4bitQuantType = 'fp4', bnb4bitUseDoubleQuant = false, skipModules } = options
  const left = skipModules ? namedPaths(model, skipModules) : floatByDefault(model)
  const floats = { layers: [Linear, Conv1D], exclude: [...left, ...offloadedPaths(model, options)] }
  if (options.loadIn8bit)
    return { ...floats, weights: qint8, algorithm: llmInt8, outlierThreshold: options.threshold }
  return { ...floats, weights: bnb4bitQuantType, algorithm: bnb4bitUseDoubleQuant ? doubleQuant : codebook }
}

/** The layers that are float32 whatever the others are. */
export function offloadedPaths(model: Module, { fp32Offload }: BitsAndBytesOptions): string[] {
  return typeof fp32Offload === 'object' ? namedPaths(model, fp32Offload) : []
}

/** As transformers decides it, by beginnings and ends of paths; a name that fits none stands for itself. */
function namedPaths(model: Module, names: readonly string[]): string[] {
  const paths = [...model.namedModules({ removeDuplicate: false })].map(([path]) => path)
  return names.flatMap((name) => {
    const found = paths.filter((path) => path === name || path.startsWith(`${name}.`) || path.endsWith(name))
    return found.length > 0 ? found : [name]
  })
}

/**
 * The head, and what shares its weight with another layer.
 * Source: transformers 5, `get_keys_to_not_convert`.
 */
function floatByDefault(model: Module): string[] {
  const holders = new Map<unknown, string[]>()
  for (const [path, module] of model.namedModules({ removeDuplicate: false })) {
    const weight: unknown = Reflect.get(module, 'weight')
    if (weight) holders.set(weight, [...(holders.get(weight) ?? []), path])
  }
  const lists = [...holders.values()]
  return [...lists.filter((paths) => paths.length > 1), lists.at(-1) ?? []].flat()
}
