import type { FloatDType } from '../core/dtype.ts'
import { DTypeError } from '../core/errors.ts'
import { show } from '../core/kinds.ts'
import { anyOf } from '../core/lists.ts'
import type { Module } from '../nn/module.ts'
import {
  type BitsAndBytesOptions,
  bitsandbytesOptions,
  checkBitsAndBytes,
  offloadedPaths,
  type PythonBitsAndBytesOptions,
} from './bitsandbytes.ts'
import { checkQuantizeOptions } from './options.ts'
import type { QuantizeOptions } from './quantize.ts'

/**
 * How a model is quantized while it is loaded: the method, a library's name, with its options in its words.
 */
export type Quantization =
  | ({ method: 'quanto' } & QuantizeOptions)
  | ({ method: 'bitsandbytes' } & (BitsAndBytesOptions | PythonBitsAndBytesOptions))

/** What a method does to a model. */
export interface MethodPlan {
  /** What `quantize` does. */
  readonly options: QuantizeOptions
  /** What floats become that are not quantized, and those that are before they are; default: as saved. */
  readonly dtype?: FloatDType
  /** The paths of layers that are float32 whatever the others are. */
  readonly float32?: readonly string[]
}

/** The options of a method, checked: gives what is done to a model for them. */
type Planner = (model: Module) => MethodPlan

/** Checks a method's options, of which `operation` tells, before there is a model. */
const methods: Readonly<Record<Quantization['method'], (operation: string, options: unknown) => Planner>> = {
  quanto: (operation, options) => {
    checkQuantizeOptions(operation, options as QuantizeOptions)
    return () => ({ options: options as QuantizeOptions })
  },
  bitsandbytes: (operation, options) => {
    const checked = checkBitsAndBytes(operation, options)
    return (model) => ({
      options: bitsandbytesOptions(model, checked),
      dtype: 'float16',
      float32: offloadedPaths(model, checked),
    })
  },
}

/**
 * What is done to a model for a quantization.
 * @param others methods that are planned elsewhere
 * @throws DTypeError or ShapeError for a method that there is not, or options that it does not have
 */
export function planQuantization(
  operation: string,
  { method, ...options }: Quantization,
  others: readonly string[] = [],
): Planner {
  if (Object.hasOwn(methods, method)) return methods[method](operation, options)
  const names = [...Object.keys(methods), ...others].map((name) => JSON.stringify(name))
  throw new DTypeError(`${operation}.method must be ${anyOf(names)}; received ${show(method)}`)
}
