import { isSamePlace } from '#files'
import type { LoadPlan } from '../checkpoints/plan.ts'
import { storedShape } from '../checkpoints/twins.ts'
import { aFloatDType, type FloatDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import {
  aBoolean,
  aFunction,
  aSignal,
  aString,
  check,
  either,
  instanceOf,
  isObject,
  type Kind,
  listOf,
  orNull,
  wholeNumber,
} from '../core/kinds.ts'
import { several } from '../core/lists.ts'
import { checkOptions, type OptionKinds, required } from '../core/options.ts'
import { aQTypeOrName, asQType, type QType, type QTypeName } from '../core/qtype.ts'
import { aDevice, type Device } from '../devices/device.ts'
import { temporaryDevice } from '../devices/open.ts'
import type { ModelWriter } from '../formats/modelWriter.ts'
import type { LayerPlace, WeightKind } from '../formats/schemes/scheme.ts'
import { type ConversionTarget, targetNamed } from '../formats/schemes/targets.ts'
import { aTarget, type FolderSink } from '../formats/source.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import { findTwin } from '../nn/twins.ts'
import { matrixShape } from '../qtensor/parts.ts'
import { type GgufQuantizedType, ggufQuantizer, ggufQuantizers } from '../quantize/ggufQuantizers.ts'
import type { CausalLM } from './causalLM.ts'
import {
  type ConversionPlan,
  type ConvertedTensor,
  type PlanConversionOptions,
  planConversion,
  type TargetQuantization,
} from './conversionPlan.ts'
import { type ImatrixPlace, LayerImportance } from './imatrixFile.ts'
import { type ModelPlace, planCausalLM } from './load.ts'
import { modelWriterFor } from './modelWriters.ts'
import { rewriteFiles } from './rewriteFiles.ts'

/** A target whose weights are quantized. */
type Quantized = NonNullable<ConversionTarget['quantized']>

/** How a model is converted. */
export interface ConvertOptions {
  /** The format, such as `quanto`, `bnb-nf4`, or `safetensors` for floats: one of `conversionTargets()`. */
  to: string
  /** The type of weights that cannot go over as they are, and of floats; default: the target's. */
  weights?: QType | QTypeName
  /** Columns of these weights that share a scale, null for the row; default: the target's. */
  groupSize?: number | null
  /** Refuses, before anything is written, what would change a value. */
  exactOnly?: boolean
  /**
   * Only layers whose path matches are quantized; globs. Default: those of the source, all of a float model.
   */
  include?: readonly string[]
  /** Layers whose path matches become floats; globs. */
  exclude?: readonly string[]
  /**
   * An importance matrix, or a file of one, as llama.cpp or `lowbit imatrix` wrote it: errors of weights that
   * are quantized anew count by what their columns multiply. Of GGUF's types alone.
   */
  imatrix?: ImatrixPlace
  /** What floats become; default: as saved. */
  dtype?: FloatDType
  /** Where weights are looked at; default: `openDevice('cpu')` where it is open, else one that is closed again. */
  device?: Device
  /** Replaces a model that was saved before. */
  overwrite?: boolean
  signal?: AbortSignal
  /**
   * Is told of what becomes of every tensor, before anything is written; what it throws ends the conversion.
   */
  onPlan?: (tensors: readonly ConvertedTensor[]) => void | Promise<void>
  /** Is told what of the source is ignored, and what other readers cannot load; default: `console.warn`. */
  onWarning?: (message: string) => void
  /** Called with the step, and the bytes read so far of all. */
  onProgress?: (step: 'plan' | 'write', bytes: number, totalBytes: number) => void
}

const anImatrix: Kind = {
  must: 'be an importance matrix',
  holds: (value) => isObject(value) && value.entries instanceof Map,
}

const optionKinds: OptionKinds<ConvertOptions> = {
  to: required(aString),
  weights: aQTypeOrName,
  groupSize: orNull(wholeNumber(1)),
  exactOnly: aBoolean,
  include: listOf('globs', aString),
  exclude: listOf('globs', aString),
  imatrix: either('be a path, a URL or an importance matrix', aString, instanceOf(URL, ''), anImatrix),
  dtype: aFloatDType,
  device: aDevice,
  overwrite: aBoolean,
  signal: aSignal,
  onPlan: aFunction,
  onWarning: aFunction,
  onProgress: aFunction,
}

/** What was written. */
export interface Conversion {
  bytes: number
  tensors: readonly ConvertedTensor[]
}

/**
 * Writes a model in another format, tensor by tensor, in memory for a few of them. Codes that the target can
 * hold go over bit for bit; other weights are quantized anew.
 *
 *     await convert('llama-awq', 'llama-nf4', { to: 'bnb-nf4' })
 *
 * @param source as `loadCausalLM` takes it
 * @param target a folder, or the path of a file where the format is one; it appears whole or not at all
 * @throws FormatError if there is no such target, a value would change and `exactOnly` is set, or as
 * `loadCausalLM` and `save`
 */
export async function convert(
  source: ModelPlace,
  target: string | FolderSink,
  options: ConvertOptions,
): Promise<Conversion> {
  check('convert', 'target', target, aTarget)
  checkOptions('convert', options, optionKinds)
  const { container, quantized, floats } = targetNamed(options.to)
  if (
    typeof target === 'string' &&
    (typeof source === 'string' || source instanceof URL) &&
    isSamePlace(source, target)
  )
    throw new FormatError(
      `convert: the target must be another place than the source; received ${target} for both`,
    )
  const { dtype: asked = floats, include, exclude, signal, overwrite, onProgress } = options
  const onWarning = options.onWarning ?? ((message: string) => console.warn(`lowbit: ${message}`))
  const plan = await planCausalLM(source)
  const { device, close } = temporaryDevice(options.device)
  try {
    for (const message of plan.warnings) onWarning(message)
    // A container that has dtypes of its own for some floats rounds no others.
    const importance = await importanceFor(plan.model, quantized, options)
    const writer = await modelWriterFor(container, plan.model, asked, importance?.notes)
    const dtype = writer ? undefined : asked
    const planned = await planConversion(plan, {
      ...{ device, dtype, include, exclude, signal, onWarning, scheme: quantized?.scheme ?? null },
      quantization: quantized && quantizationFor(plan, quantized, options),
      holds: quantized ? keepsCodes(quantized, options) : undefined,
      container: writer,
      differs: byImportance(differences(plan.model, quantized, options, writer), quantized, importance),
      onProgress: (bytes, total) => onProgress?.('plan', bytes, total),
    })
    if (importance && importance.missing.size > 0)
      onWarning(
        `convert: the importance matrix has nothing of ${several([...importance.missing])}, which are quantized without`,
      )
    if (options.exactOnly) refuseChanges(planned)
    await options.onPlan?.(planned.tensors)
    const bytes = await rewriteFiles(planned, target, {
      ...{ device, dtype, overwrite, signal, onWarning },
      onProgress: (done, total) => onProgress?.('write', done, total),
    })
    return { bytes, tensors: planned.tensors }
  } finally {
    plan.model.dispose()
    await plan.close()
    await close()
  }
}

/** Whether codes are what is asked for: by the target's name, or by options. */
function keepsCodes(
  { target }: Quantized,
  { weights, groupSize }: ConvertOptions,
): (weight: WeightKind) => boolean {
  const type = weights === undefined ? null : asQType(weights)
  return (weight) => {
    const size = groupSize === null ? matrixShape(weight.shape)[1] : groupSize
    const { block } = weight
    const hasSize = size === undefined || ('size' in block && block.size === size)
    return hasSize && (type ? weight.qtype === type : (target.holds?.(weight) ?? true))
  }
}

/** What of a target's preset differs for a layer, where the caller leaves its type to the target. */
function differences(
  model: CausalLM,
  quantized: Quantized | null,
  { weights }: ConvertOptions,
  writer?: ModelWriter,
): PlanConversionOptions['differs'] {
  const target = weights === undefined ? quantized?.target : undefined
  if (!target?.layer) return undefined
  return (path, shape) => {
    const name = (writer?.nameOf?.(`${path}.weight`) ?? `${path}.weight`).replace(/\.weight$/, '')
    const [, layer = null] = /\.(\d+)\./.exec(path) ?? []
    const isHead = Reflect.get(model.getModule(path), 'weight') === model.lm_head.weight
    const place = { name, shape, layer: layer && Number(layer), layers: model.config.layers, isHead }
    return (target.layer?.(place as LayerPlace) ?? {}) as Partial<TargetQuantization> | string
  }
}

/** @throws FormatError unless the target has types that know of importance */
async function importanceFor(
  model: CausalLM,
  quantized: Quantized | null,
  { imatrix, to }: ConvertOptions,
): Promise<LayerImportance | undefined> {
  if (imatrix === undefined) return undefined
  if (isGgufType(quantized?.target.algorithm)) return LayerImportance.open(model, imatrix)
  throw new FormatError(
    `convert: an importance matrix goes with GGUF's quantized types, such as gguf:q4_k_m; received ${to}`,
  )
}

/** What differs for a layer, by what its columns multiply. */
function byImportance(
  differs: PlanConversionOptions['differs'],
  quantized: Quantized | null,
  importance: LayerImportance | undefined,
): PlanConversionOptions['differs'] {
  if (!importance) return differs
  return (path, shape) => {
    const own = differs?.(path, shape) ?? {}
    if (typeof own === 'string') return own
    const { algorithm = quantized?.target.algorithm } = own
    const columns = isGgufType(algorithm) && importance.of(path, matrixShape(shape)[1])
    if (!columns) return own
    const type = algorithm.toUpperCase() as GgufQuantizedType
    return { ...own, algorithm: ggufQuantizer(type, { importance: columns }) }
  }
}

function isGgufType(algorithm: unknown): algorithm is Lowercase<GgufQuantizedType> {
  return typeof algorithm === 'string' && Object.hasOwn(ggufQuantizers, algorithm)
}

/** What `quantize` does to weights that do not go over as they are. */
function quantizationFor(
  plan: LoadPlan<CausalLM>,
  { scheme, target }: Quantized,
  options: ConvertOptions,
): TargetQuantization {
  const weights =
    options.weights === undefined ? target.weights : asQType(options.weights, 'convert: weights')
  if (!scheme.writer.types.includes(weights)) {
    const names = scheme.writer.types.map(({ name }) => name)
    throw new FormatError(
      `convert: weights of ${options.to} must be ${names.join(' or ')}; received ${weights.name}`,
    )
  }
  const groupSize = options.groupSize === undefined ? fittingSize(plan, target.groupSize) : options.groupSize
  const { holds: _, layer: __, ...preset } = target
  return { ...preset, weights, groupSize } as TargetQuantization
}

/**
 * The target's group size, or the largest half, quarter … from 32 up that divides the columns of all layers
 * that any of them divides.
 */
function fittingSize({ model }: LoadPlan<CausalLM>, size: number | null | undefined) {
  if (!size) return size
  const columns = [...model.namedModules()].flatMap(([, module]) => {
    const shape = findTwin(module) || module instanceof QWeightModule ? storedShape(module) : null
    return shape && shape.length > 1 ? matrixShape(shape)[1] : []
  })
  const sizes = [size, size / 2, size / 4, size / 8].filter((each) => Number.isInteger(each) && each >= 32)
  const divided = columns.filter((count) => sizes.some((each) => count % each === 0))
  return sizes.find((each) => divided.every((count) => count % each === 0)) ?? size
}

/** @throws FormatError that lists what changes */
function refuseChanges({ tensors }: ConversionPlan): void {
  const changed = tensors.filter(({ exact }) => !exact)
  if (changed.length === 0) return
  const listed = several(
    changed.map(({ path, to, reason }) => `${path} → ${to}${reason ? ` (${reason})` : ''}`),
  )
  throw new FormatError(`convert: every value must stay as it is (exactOnly); changed would be ${listed}`)
}
