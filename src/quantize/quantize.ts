import { DTypeError, ShapeError } from '../core/errors.ts'
import { check } from '../core/kinds.ts'
import { several } from '../core/lists.ts'
import { nearest } from '../core/nearest.ts'
import { asQType, type QType, type QTypeName, qint3 } from '../core/qtype.ts'
import { aModule, type Module } from '../nn/module.ts'
import { QModule, QWeightModule } from '../nn/qmodule.ts'
import { findTwin, type LayerClass, type Twin, weightColumns } from '../nn/twins.ts'
import { Uncalibrated } from '../nn/uncalibrated.ts'
import { type ComputeDType, defaultOutlierThreshold } from '../qtensor/computeDtype.ts'
import { defaultGroupSize } from '../qtensor/groupSize.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import { type Quantizer, type ScaleOptions, scaleKinds } from '../qtensor/quantizer.ts'
import { Tensor } from '../tensor/tensor.ts'
import { codebookBlockSizes, hasRuns } from './codebook.ts'
import { globMatcher } from './glob.ts'
import { type LayerSet, layerSets } from './layerSets.ts'
import { checkQuantizeOptions } from './options.ts'
import { type LayerOverrides, overridden, overridesOf } from './overrides.ts'
import { defaultQuantizer, type QuantizerName, quantizers } from './quantizers.ts'

/** What `quantize` does to which layers. */
export interface QuantizeOptions extends ScaleOptions {
  /**
   * The type of the weights: a value such as `qint4`, or its name. int3 has integer zero points and scales of
   * float16, where neither these nor an algorithm are given: quanto's files have no 3 bits, and GPTQ's do.
   */
  weights: QType | QTypeName
  /**
   * The type of activations, int8 or one of float8; default: they stay float. `calibrate` chooses their
   * scales.
   */
  activations?: QType | QTypeName
  /**
   * Only modules whose path matches; glob or list of globs. One that is named by its whole path is quantized
   * whatever its class, such as an embedding.
   */
  include?: string | readonly string[]
  /** All modules but those whose path matches; wins over `include`. */
  exclude?: string | readonly string[]
  /**
   * How scales are chosen: the name of a quantizer, or one of your own. Default: `absmax` for 8 bits, `max`
   * below.
   */
  algorithm?: QuantizerName | Quantizer
  /**
   * Columns that share a scale; null for a whole row. Default: quanto's rule (for int2 and int4 128, 96, 64
   * or 32, whichever divides); for nf4 and fp4, whose blocks may cross rows, 64.
   */
  groupSize?: number | null
  /**
   * The precision of products with these weights, see `setComputeDtype`; torchao's dynamic recipes set it.
   * Default: not set.
   */
  computeDtype?: ComputeDType
  /**
   * The magnitude from which values of inputs are outliers, multiplied as floats, where `computeDtype` is
   * `int8Outliers`; 0: none are. Default: 6.
   */
  outlierThreshold?: number
  /**
   * Which classes of layers: `default` takes those that multiply weights, and LayerNorm where activations are
   * quantized; `quanto` those that quanto knows; a list names them, embeddings included.
   */
  layers?: LayerSet | readonly LayerClass[]
  /** What is otherwise for single layers. */
  overrides?: LayerOverrides
  /** Refuses to compute with activations that were never calibrated, instead of warning once. */
  strict?: boolean
}

/**
 * Replaces, in place, the layers that multiply weights by their quantized twins. The weights stay float until
 * `freeze`; forward passes see them quantized. Modules quantized before are left as they are.
 * @returns the paths of the modules replaced; of one that stands at several, the first
 * @throws ShapeError if a glob matches no module, a group size does not fit a layer, or nothing is left to
 * quantize; the model is then as before
 */
export function quantize(model: Module, options: QuantizeOptions): string[] {
  check('quantize', 'model', model, aModule)
  checkQuantizeOptions('quantize', options)
  const twins = planTwins(model, options)
  model.replaceModules(new Map([...twins.values()].map(({ layer, twin }) => [layer, twin])))
  return [...twins.keys()]
}

/** A layer, and the twin that is to take its place. */
export interface PlannedTwin {
  layer: Module
  twin: QModule
}

/** The twins that `quantize` puts in place, by path; nothing is replaced yet. */
export function planTwins(model: Module, options: QuantizeOptions): Map<string, PlannedTwin> {
  const uncalibrated = new Uncalibrated({ strict: options.strict })
  const activations = { qtype: activationType(options.activations), uncalibrated }
  const modules = [...model.modulePaths()]
  checkGlobs(model, [options.include ?? [], options.exclude ?? []].flat(), 'quantize')
  const included = options.include === undefined ? () => true : globMatcher(options.include)
  const isNamed = (path: string) => [options.include].flat().includes(path)
  const excluded = options.exclude === undefined ? () => false : globMatcher(options.exclude)
  const overrideOf = overridesOf(model, options.overrides)
  quantizerOf(options)
  const planned = new Map<string, PlannedTwin>()
  for (const [layer, paths] of modules) {
    const kind = twinFor(layer, options.layers) ?? (paths.some(isNamed) ? findTwin(layer)?.twin : undefined)
    if (!kind || !paths.some(included) || paths.some(excluded)) continue
    const [path] = paths
    const override = overrideOf(paths)
    if (override === null) continue
    const own = withZeroPoints(overridden(options, override))
    const { qtype, quantizer } = quantizerOf(own)
    const { shortGroups = false } = quantizer
    const short = shortGroups === 'zeroPoints' ? (own.zeroPoints ?? false) : shortGroups
    const groupSize = groupSizeOf(layer, qtype, own.groupSize, path, short)
    const weights = { qtype, groupSize, quantizer, ...scaleOptions(own) }
    const twin = kind.make(layer, { weights, activations })
    if (!twin) continue
    if (twin instanceof QWeightModule) {
      twin.computeDtype = options.computeDtype ?? quantizer.computeDtype ?? null
      twin.outlierThreshold = options.outlierThreshold ?? defaultOutlierThreshold
    }
    if (path === '')
      throw new ShapeError(
        'quantize: the model must contain the layer, so that its twin can take its place; it is the layer',
      )
    uncalibrated.add(path, twin)
    planned.set(path, { layer, twin })
  }
  if (planned.size === 0) throw nothingLeft(modules, options.layers)
  return planned
}

/**
 * Of 3 bits, which quanto does not have, the default is what GPTQ's files hold: integer zero points, and scales
 * of 16 bits.
 */
function withZeroPoints(options: QuantizeOptions): QuantizeOptions {
  const { weights, algorithm, zeroPoints, scaleDtype = 'float16' } = options
  const isDefault = algorithm === undefined && zeroPoints === undefined
  return isDefault && asQType(weights) === qint3 ? { ...options, zeroPoints: true, scaleDtype } : options
}

/** What weights become, and what chooses their codes. @throws DTypeError if that does not have the type */
function quantizerOf(options: QuantizeOptions): { qtype: QType; quantizer: Quantizer } {
  const qtype = asQType(options.weights, 'quantize: weights')
  const { algorithm = defaultQuantizer(qtype) } = options
  const quantizer = typeof algorithm === 'string' ? quantizers[algorithm] : algorithm
  if (quantizer.types && !quantizer.types.includes(qtype))
    throw new DTypeError(
      `quantize: weights must be ${several(quantizer.types.map(({ name }) => name))} for ${quantizer.name}; received ${qtype.name}`,
    )
  return { qtype, quantizer }
}

/** Those that are given. */
function scaleOptions(options: QuantizeOptions): ScaleOptions {
  const names = Object.keys(scaleKinds) as (keyof ScaleOptions)[]
  const given = names.filter((name) => options[name] !== undefined)
  return Object.fromEntries(given.map((name) => [name, options[name]]))
}

/** How the module is to be quantized; undefined where it is not. */
function twinFor(module: Module, layers: QuantizeOptions['layers'] = 'default'): Twin | undefined {
  const found = findTwin(module)
  if (!found) return undefined
  const isWanted =
    typeof layers === 'string'
      ? layerSets[layers](found)
      : layers.some((layerClass) => module instanceof layerClass)
  return isWanted ? found.twin : undefined
}

/** Whether `quantize` with these `layers` has a twin for the module. */
export function isQuantizable(module: Module, layers?: QuantizeOptions['layers']): boolean {
  return twinFor(module, layers) !== undefined
}

/** @throws DTypeError unless activations can have the type. */
export function activationType(type: QType | QTypeName | undefined, operation = 'quantize'): QType | null {
  if (type === undefined) return null
  const qtype = asQType(type, `${operation}: activations`)
  if (qtype.bits === 8) return qtype
  throw new DTypeError(`${operation}: activations must be int8 or one of float8; received ${qtype.name}`)
}

function nothingLeft(modules: [Module, string[]][], layers: QuantizeOptions['layers']): ShapeError {
  const floats = modules.filter(([module]) => twinFor(module, layers)).length
  const quantized = modules.filter(([module]) => module instanceof QModule).length
  const unchosen = `include and exclude leave none of ${floats}`
  const found =
    floats > 0 ? unchosen : quantized > 0 ? `all ${quantized} are quantized already` : 'it has none'
  return new ShapeError(`quantize: the model must have a layer to quantize, such as Linear; ${found}`)
}

/**
 * Columns that share a scale; null for one scale a row, and where no weight is a matrix, as that of a
 * normalization.
 */
function groupSizeOf(
  module: Module,
  qtype: QType,
  wanted: number | null | undefined,
  path: string,
  short: boolean,
): number | null {
  const weight: unknown = Reflect.get(module, 'weight')
  if (!(weight instanceof Tensor) || weight.shape.length < 2) return null
  return groupSizeFor(qtype, weightColumns(module, weight), wanted, path, short)
}

function groupSizeFor(
  qtype: QType,
  columns: number,
  wanted: number | null | undefined,
  path: string,
  short: boolean,
): number | null {
  if (hasRuns(qtype)) return blockSizeFor(wanted, path)
  if (wanted === undefined) return defaultGroupSize(qtype, columns)
  if (wanted === null) return null
  if (!Number.isInteger(wanted) || wanted <= 0)
    throw new ShapeError(`quantize: groupSize must be a whole number from 1 up; received ${wanted}`)
  if (columns % wanted !== 0 && !short)
    throw new ShapeError(
      `quantize: groupSize (${wanted}) must divide the columns of ${path} (${columns}); exclude it or choose another`,
    )
  return wanted >= columns ? null : wanted
}

/** Weights in blocks of the flattened weight, whatever its columns. */
function blockSizeFor(wanted: number | null = 64, path: string): number {
  if (wanted !== null && codebookBlockSizes.includes(wanted)) return wanted
  throw new ShapeError(
    `quantize: groupSize of ${path} must be one of ${codebookBlockSizes.join(', ')}; received ${wanted}`,
  )
}

/** @throws ShapeError if a pattern matches no module of a model */
export function checkGlobs(model: Module, patterns: readonly string[], operation: string): void {
  if (patterns.length === 0) return
  const paths = [...model.modulePaths()].flatMap(([, all]) => all).filter((path) => path !== '')
  for (const pattern of patterns) {
    if (paths.some(globMatcher(pattern))) continue
    const near = nearest(pattern, paths).join(', ')
    throw new ShapeError(
      `${operation}: ${JSON.stringify(pattern)} must match a module; the nearest are ${near}`,
    )
  }
}

/**
 * Replaces the float weights of quantized modules by their codes and scales; a float that another module
 * holds, too, stays. Freezing twice changes nothing. If one cannot be quantized, none is.
 * @throws DeviceError if weights were never loaded, and whatever a quantizer throws
 */
export function freeze(model: Module): void {
  check('freeze', 'model', model, aModule)
  const twins = [...model.namedModules()].flatMap(([, module]) =>
    module instanceof QWeightModule && !module.frozen ? [module] : [],
  )
  const floats = freezeTwins(twins)
  const held = model.parameters()
  for (const float of floats) if (!held.has(float)) float.dispose()
}

/**
 * Quantizes the weights of twins, then puts the codes in their place: those that share a float, and quantize
 * it alike, share its codes.
 * @returns the floats that stood there, each once
 */
export function freezeTwins(twins: readonly QWeightModule[]): Set<QWeightModule['weight']> {
  const frozen = new Map<QWeightModule, QTensor>()
  try {
    for (const twin of twins) {
      const like = [...frozen.keys()].find(
        (other) => other.weight === twin.weight && quantizeAlike(other, twin),
      )
      frozen.set(twin, (like && frozen.get(like)) ?? twin.quantizedWeight().keep())
    }
  } catch (error) {
    for (const weight of new Set(frozen.values())) weight.dispose()
    throw error
  }
  const floats = new Set(twins.map(({ weight }) => weight))
  for (const [twin, weight] of frozen) {
    twin.weight = weight
    twin.statistics?.dispose()
    twin.statistics = null
  }
  return floats
}

function quantizeAlike(a: QWeightModule, b: QWeightModule): boolean {
  const sameWay = a.outputRows === b.outputRows && a.statistics === b.statistics
  const [p, q] = [a.quantization, b.quantization]
  return sameWay && p.qtype === q.qtype && p.groupSize === q.groupSize && p.quantizer === q.quantizer
}

/** What a module's weights and activations are quantized to, by quanto's names. */
export interface QuantizedTypes {
  weights: QType['name'] | 'none'
  activations: QType['name'] | 'none'
  /** False where streamlining left the outputs float; quanto's map does not have it. */
  outputQuantized?: false
}

/** Which modules are quantized, and how, by all their paths: quanto's quantization map. */
export function quantizationMap(model: Module): Record<string, QuantizedTypes> {
  check('quantizationMap', 'model', model, aModule)
  const map: Record<string, QuantizedTypes> = {}
  for (const [path, module] of model.namedModules({ removeDuplicate: false })) {
    if (!(module instanceof QModule)) continue
    const streamlined = module.activations !== null && !module.outputQuantized
    map[path] = {
      weights: module.weights?.name ?? 'none',
      activations: module.activations?.name ?? 'none',
      ...(streamlined ? { outputQuantized: false as const } : {}),
    }
  }
  return map
}

/**
 * Bytes of all parameters and buffers, tied ones counted once; a quantized weight counts its codes and scales
 * as saved.
 */
export function memoryFootprint(model: Module): number {
  check('memoryFootprint', 'model', model, aModule)
  let bytes = 0
  for (const parameter of new Set([...model.namedTensors()].map(([, tensor]) => tensor)))
    bytes += parameter.byteLength
  return bytes
}
