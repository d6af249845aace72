import { DTypeError, ShapeError } from '../core/errors.ts'
import { aBoolean, aString, isObject, listOf, oneOf, orNull, show } from '../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../core/options.ts'
import { Conv1D } from '../nn/gptConv1D.ts'
import { Linear } from '../nn/linear.ts'
import type { Module } from '../nn/module.ts'
import { codebook, doubleQuant } from './codebook.ts'
import type { QuantizeOptions } from './quantize.ts'

/**
 * How bitsandbytes quantizes, in the words of transformers' `BitsAndBytesConfig`, whose own spelling is taken,
 * too.
 */
export interface BitsAndBytesOptions {
  /** Loads weights in 4 bits; LLM.int8 is not supported. */
  loadIn4bit: true
  /** The type of the weights; default `fp4`, as in Python. */
  bnb4bitQuantType?: 'nf4' | 'fp4'
  /** Quantizes the scales once more. Default false. */
  bnb4bitUseDoubleQuant?: boolean
  /** What Python computes products in; here they are float32, whichever it is. */
  bnb4bitComputeDtype?: 'float32' | 'float16' | 'bfloat16'
  /** How Python keeps the codes: as bytes. */
  bnb4bitQuantStorage?: 'uint8'
  /**
   * Layers that stay float: paths, or their beginnings or ends. Default: the head, and what shares its weight
   * with another layer.
   */
  skipModules?: readonly string[] | null
}

/** The same by Python's names. */
export interface PythonBitsAndBytesOptions {
  load_in_4bit: true
  bnb_4bit_quant_type?: BitsAndBytesOptions['bnb4bitQuantType']
  bnb_4bit_use_double_quant?: boolean
  bnb_4bit_compute_dtype?: BitsAndBytesOptions['bnb4bitComputeDtype']
  bnb_4bit_quant_storage?: BitsAndBytesOptions['bnb4bitQuantStorage']
  llm_int8_skip_modules?: readonly string[] | null
}

const optionKinds: OptionKinds<BitsAndBytesOptions> = {
  loadIn4bit: required({
    must: 'be true: of bitsandbytes there are weights of 4 bits',
    holds: (value) => value === true,
  }),
  bnb4bitQuantType: oneOf('nf4', 'fp4'),
  bnb4bitUseDoubleQuant: aBoolean,
  bnb4bitComputeDtype: oneOf('float32', 'float16', 'bfloat16'),
  bnb4bitQuantStorage: oneOf('uint8'),
  skipModules: orNull(listOf('paths', aString)),
}

/** Python's names of the options. */
const pythonNames: Readonly<Record<keyof PythonBitsAndBytesOptions, keyof BitsAndBytesOptions>> = {
  load_in_4bit: 'loadIn4bit',
  bnb_4bit_quant_type: 'bnb4bitQuantType',
  bnb_4bit_use_double_quant: 'bnb4bitUseDoubleQuant',
  bnb_4bit_compute_dtype: 'bnb4bitComputeDtype',
  bnb_4bit_quant_storage: 'bnb4bitQuantStorage',
  llm_int8_skip_modules: 'skipModules',
}

/**
 * The options by lowbit's names.
 * @throws ShapeError or DTypeError for options that there are not, or that are given twice
 */
export function checkBitsAndBytes(operation: string, options: unknown): BitsAndBytesOptions {
  if (!isObject(options)) throw new DTypeError(`${operation} must be an object; received ${show(options)}`)
  const named: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(options)) {
    const name = Object.hasOwn(pythonNames, key) ? pythonNames[key as keyof PythonBitsAndBytesOptions] : key
    if (Object.hasOwn(named, name))
      throw new ShapeError(`${operation}: ${name} must be given once; received ${key}, too`)
    named[name] = value
  }
  const checked = named as unknown as BitsAndBytesOptions
  checkOptions(operation, checked, optionKinds)
  return checked
}

/**
 * What `quantize` does for them: the linear layers of a model, in blocks of 64, except those that
 * transformers leaves out.
 */
export function bitsandbytesOptions(model: Module, options: BitsAndBytesOptions): QuantizeOptions {
  const { bnb4bitQuantType = 'fp4', bnb4bitUseDoubleQuant = false, skipModules } = options
  return {
    weights: bnb4bitQuantType,
    algorithm: bnb4bitUseDoubleQuant ? doubleQuant : codebook,
    layers: [Linear, Conv1D],
    exclude: skipModules ? skipped(model, skipModules) : floatByDefault(model),
  }
}

/** As transformers decides it, by beginnings and ends of paths; a name that fits none stands for itself. */
function skipped(model: Module, names: readonly string[]): string[] {
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
