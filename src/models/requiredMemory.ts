import { aFloatDType, dtypes, type FloatDType } from '../core/dtype.ts'
import { anObject, aString, check, either, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { numel } from '../core/shape.ts'
import { JsonObject } from '../formats/json.ts'
import type { Parameter } from '../nn/module.ts'
import { type QuantizeOptions, quantize } from '../quantize/quantize.ts'
import { cacheBytes } from './caches/cacheKind.ts'
import { aCacheType, type CacheType, caches, defaultResidual } from './caches/index.ts'
import type { CausalLM } from './causalLM.ts'
import { emptyModel } from './families/index.ts'
import { frozenBytes } from './room.ts'

/** What a model is to be, and what it is to read. */
export interface MemoryOptions {
  /** What the weights of its layers are quantized to, as `quantize` takes it; default: they are floats. */
  weights?: QuantizeOptions['weights']
  /** What floats are stored as; default: what the config says, else float32. */
  dtype?: FloatDType
  /** What keys and values are kept as; default float16. */
  kv?: CacheType
  /** Tokens of each sequence; default: as many as the model was trained for. */
  context?: number
  /** Sequences; default 1. */
  batch?: number
}

const optionKinds: OptionKinds<MemoryOptions> = {
  weights: either('be a quantized type or its name', aString, anObject),
  dtype: aFloatDType,
  kv: aCacheType,
  context: wholeNumber(1),
  batch: wholeNumber(1),
}

/** Bytes that a model needs. */
export interface RequiredMemory {
  /** Weights of the model. */
  parameters: number
  /** Bytes of all of them. */
  weights: number
  /** Bytes of keys and values of the whole context. */
  cache: number
  context: number
  kv: CacheType
}

/**
 * The memory that a model needs to generate, from its config.json alone: its weights and its cache. What
 * passes while a prompt is read comes on top: some rows of the widest layer.
 * @throws FormatError if no family has the config's architecture, or refuses it
 */
export function requiredMemory(config: object, options: MemoryOptions = {}): RequiredMemory {
  check('requiredMemory', 'config', config, anObject)
  checkOptions('requiredMemory', options, optionKinds)
  const model = emptyModel(new JsonObject(config as Record<string, unknown>, 'config.json'))
  try {
    return memoryOf(model, { ...options, dtype: options.dtype ?? savedDType(config) })
  } finally {
    model.dispose()
  }
}

/** The same of a model without weights, which is quantized as the options say. */
export function memoryOf(model: CausalLM, options: MemoryOptions): RequiredMemory {
  const { weights, dtype = 'float32', kv = 'float16', batch = 1 } = options
  const { context = model.config.maxPositions } = options
  if (weights !== undefined) quantize(model, { weights })
  // A tensor that layers share stands under several paths.
  const paths = new Map<Parameter, string[]>()
  for (const [path, parameter] of model.namedTensors())
    paths.set(parameter, [...(paths.get(parameter) ?? []), path])
  let [parameters, bytes] = [0, 0]
  for (const [{ shape }, places] of paths) {
    parameters += numel(shape)
    bytes += frozenBytes(model, places, dtype, numel(shape) * dtypes[dtype].bytes)
  }
  const shape = { capacity: context, batch, residual: defaultResidual }
  return { parameters, weights: bytes, cache: cacheBytes(caches[kv], model.cacheLayers, shape), context, kv }
}

/** What a config says that its floats are saved as. */
function savedDType(config: { dtype?: unknown; torch_dtype?: unknown }): FloatDType {
  const named = config.dtype ?? config.torch_dtype
  return aFloatDType.holds(named) ? (named as FloatDType) : 'float32'
}
