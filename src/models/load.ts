import { openFile, openFolder } from '#files'
import { host } from '#host'
import type { LoadPlan, PlannedParameter } from '../checkpoints/plan.ts'
import { aFloatDType, type FloatDType } from '../core/dtype.ts'
import { ShapeError } from '../core/errors.ts'
import {
  aBoolean,
  aFunction,
  anObject,
  aSignal,
  check,
  either,
  instanceOf,
  listOf,
  oneOf,
  wholeNumber,
} from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { aDevice, type Device } from '../devices/device.ts'
import { openDevice } from '../devices/open.ts'
import { checkFinite } from '../formats/finite.ts'
import { schemeNamed } from '../formats/schemes/index.ts'
import { aPlace, blobSource, type Folder, filesFolder, type OpenOptions } from '../formats/source.ts'
import { type Parameter, parentPath } from '../nn/module.ts'
import { QWeightModule, setComputeDtype } from '../nn/qmodule.ts'
import { isTurned } from '../nn/twins.ts'
import { aComputeDType, type ComputeDType } from '../qtensor/computeDtype.ts'
import { dequantize } from '../quantize/dequantize.ts'
import { planQuantization, type Quantization } from '../quantize/methods.ts'
import { freezeTwins, quantize } from '../quantize/quantize.ts'
import { cast, transpose } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { CalibratedQuantization } from './calibratedConfigs.ts'
import type { CalibratedMethod } from './calibratedMethods.ts'
import type { CausalLM } from './causalLM.ts'
import { planFolder } from './folderPlan.ts'
import { moveParameters, onDisk, type PlacementOptions, placementKinds } from './placement.ts'
import { checkRoom, parameterSizes } from './room.ts'

/**
 * Where a model lies: a path, URL, hub id, or in Node one of this package, such as
 * `lowbit/models/stories260K`; a folder; a GGUF file in the browser, or the files that were dropped on a
 * page.
 */
export type ModelPlace = string | URL | Folder | Blob | readonly File[]

/** Where a model lies. */
export const aModelPlace = either(
  'be a path, URL or hub id, a folder, a file or a list of files',
  aPlace,
  instanceOf(Blob, 'be a file'),
  listOf('files', instanceOf(Blob, 'be a file')),
)

/** How a language model is loaded. */
export interface LoadOptions extends PlacementOptions {
  /** Where to compute; default: `openDevice('cpu')`. */
  device?: Device
  /**
   * What unquantized weights are stored as; default: as saved, but float16 with bitsandbytes' method and
   * beside AWQ's weights, as transformers has it.
   */
  dtype?: FloatDType
  /** Holds floats where the checkpoint holds quantized weights. */
  dequantize?: boolean
  /**
   * The precision of the quantized layers' matrix products, set for all calls; default: float32, but int8 in
   * `generate` and `bench`.
   */
  computeDtype?: ComputeDType
  /**
   * Quantizes while loading, tensor by tensor: the same result as load, `quantize`, `freeze`, without ever
   * holding the float model. `{ method: 'quanto', weights: 'int4', exclude: 'lm_head' }`, or `{ method:
   * 'bitsandbytes', loadIn4bit: true, bnb4bitQuantType: 'nf4' }`. Weights that are quantized already are
   * dequantized first, one by one. `{ method: 'gptq', bits: 4, dataset: 'wikitext2' }` and `{ method: 'awq',
   * dataset }` need to see what passes through the model: they quantize it once its floats are loaded.
   */
  quantization?: Quantization | CalibratedQuantization
  /**
   * transformers' name of an attention. Whichever it is, attention here is one kernel that streams over keys
   * and values, as `flash_attention_2` does, and holds no matrix of scores.
   */
  attnImplementation?: 'eager' | 'sdpa' | 'flash_attention_2'
  /**
   * Makes the tokenizer's tables while weights are read, for whoever will pass text at once; default: false,
   * when they are first needed.
   */
  prepareTokenizer?: boolean
  /**
   * Computes products of the same input as one, as `fuse` does once all is loaded; transformers' `do_fuse`.
   */
  doFuse?: boolean
  /** With `doFuse`, as of `fuse`: the most tokens of a prompt and its text, for which room is made once. */
  fuseMaxSeqLen?: number
  signal?: AbortSignal
  /** Called with a file of the hub that is downloaded, its bytes so far, and all. */
  onDownload?: (file: string, bytes: number, totalBytes: number) => void
  /**
   * Is told, before any weight is read, what of the checkpoint is ignored since it is not sound; default:
   * `console.warn`.
   */
  onWarning?: (message: string) => void
  /** Called with the bytes read so far, and all. */
  onProgress?: (bytes: number, totalBytes: number) => void
}

const optionKinds: OptionKinds<LoadOptions> = {
  device: aDevice,
  dtype: aFloatDType,
  dequantize: aBoolean,
  computeDtype: aComputeDType,
  quantization: anObject,
  attnImplementation: oneOf('eager', 'sdpa', 'flash_attention_2'),
  ...placementKinds,
  prepareTokenizer: aBoolean,
  doFuse: aBoolean,
  fuseMaxSeqLen: wholeNumber(1),
  signal: aSignal,
  onDownload: aFunction,
  onWarning: aFunction,
  onProgress: aFunction,
}

/**
 * Loads a causal language model: a folder in Hugging Face layout (or its URL, or hub id), float or quantized
 * by any of the schemes that lowbit reads; or a GGUF file (its path or URL ending in .gguf, or a `File` that
 * the user picked), whose blocks are computed with as they are.
 * @throws FormatError if a file is missing, broken, or does not fit the others
 */
export async function loadCausalLM(place: ModelPlace, options: LoadOptions = {}): Promise<CausalLM> {
  const calibrated = await checkLoadOptions(options)
  const plan = await planCausalLM(place, options)
  const { model, parameters } = plan
  const warn = options.onWarning ?? ((message) => console.warn(`lowbit: ${message}`))
  const ended = new AbortController()
  let tables: Promise<void> | undefined
  try {
    for (const message of plan.warnings) warn(message)
    const { doFuse, fuseMaxSeqLen } = options
    const fusing = doFuse ? await import('./fuse.ts') : null
    if (fuseMaxSeqLen !== undefined) fusing?.checkLength('loadCausalLM', model, fuseMaxSeqLen)
    const device = options.device ?? openDevice()
    const quantization = calibrated ? undefined : (options.quantization as Quantization | undefined)
    // What is quantized already is made floats first.
    const floats =
      options.dequantize === true || (options.quantization !== undefined && plan.scheme !== 'none')
    if (floats) dequantize(model)
    const method = quantization && planQuantization('loadCausalLM: quantization', quantization)(model)
    if (method) quantize(model, method.options)
    const dtype = options.dtype ?? method?.dtype ?? schemeNamed(plan.scheme)?.floatDtype
    const float32 = new Set(method?.float32)
    const dtypeOf = ({ paths }: PlannedParameter) =>
      paths.some((path) => float32.has(parentPath(path))) ? 'float32' : dtype
    const sizes = parameterSizes(plan, { dtype, floats, freezing: quantization !== undefined })
    const disk = onDisk(
      plan,
      sizes.map(({ held }) => held),
      options,
    )
    checkRoom(plan, device, sizes, disk)
    const total = parameters.reduce((sum, { byteLength }) => sum + byteLength, 0)
    let done = 0
    const quantizing = floats || quantization !== undefined
    if (options.prepareTokenizer) tables = prepareTables(model, ended)
    const load = (planned: PlannedParameter) => loadParameter(plan, planned, device, dtypeOf(planned), floats)
    for await (const [planned, parameter] of inOrder(parameters, load, quantizing ? 1 : 4)) {
      placeParameter(model, planned.paths, parameter, quantization !== undefined)
      if (disk.has(planned)) {
        moveParameters(model, planned.paths, options.offloadFolder)
        // Who keeps weights on disk has no room for blocks that wait for reuse.
        device.trim()
      }
      options.signal?.throwIfAborted()
      ended.signal.throwIfAborted()
      // The queue holds a copy of what it has not taken yet.
      await device.settled()
      done += planned.byteLength
      options.onProgress?.(done, total)
    }
    await tables
    ended.signal.throwIfAborted()
    if (!floats) await plan.finish(device)
    await device.sync()
    device.trim()
    await calibrated?.(model, { signal: options.signal, onWarning: warn })
    fusing?.fuse(model, { fuseMaxSeqLen })
    if (options.computeDtype) setComputeDtype(model, options.computeDtype)
    return model
  } catch (error) {
    model.dispose()
    throw error
  } finally {
    ended.abort()
    await tables
    await plan.close()
  }
}

/** Makes the tables of a model's tokenizer between the turns of others; what is not sound aborts `ended`. */
async function prepareTables({ tokenizer }: CausalLM, ended: AbortController): Promise<void> {
  try {
    for (let more = tokenizer !== null; more && !ended.signal.aborted; ) {
      await host.turn()
      more = tokenizer?.prepareStep() ?? false
    }
  } catch (error) {
    ended.abort(error)
  }
}

/**
 * The parameters in their order, each with what `load` makes of it, up to `atOnce` of them on their way:
 * while one is laid out on the device, the next comes from its file. One at a time where floats are made of
 * them, which are large.
 */
export async function* inOrder<Made extends { dispose(): void } | null>(
  parameters: readonly PlannedParameter[],
  load: (planned: PlannedParameter) => Promise<Made>,
  atOnce: number,
): AsyncGenerator<[PlannedParameter, Made]> {
  const coming: Promise<Made>[] = []
  try {
    for (const [i, planned] of parameters.entries()) {
      for (let next = i + coming.length; next < Math.min(i + atOnce, parameters.length); next++) {
        const promise = load(parameters[next])
        // A failure rejects whatever awaits this; unawaited it is no unhandled rejection.
        promise.catch(() => {})
        coming.push(promise)
      }
      yield [planned, await (coming.shift() as Promise<Made>)]
    }
  } finally {
    for (const promise of coming) await promise.then((made) => made?.dispose()).catch(() => {})
  }
}

/** A parameter as it is saved, or the floats that it stands for. */
export async function loadParameter(
  { model, name }: LoadPlan<CausalLM>,
  planned: PlannedParameter,
  device: Device,
  dtype: FloatDType | undefined,
  floats: boolean,
): Promise<Parameter> {
  const parameter = await planned.load(device, dtype)
  if (!floats || parameter instanceof Tensor) return parameter
  // The codes of its twin lie the other way round.
  const turned = isTurned(model.getModule(parentPath(planned.path)))
  const weight = () => (turned ? transpose(parameter.dequantize(), 0, 1) : parameter.dequantize())
  const float = keep(scope(() => cast(weight(), dtype ?? parameter.dtype)))
  parameter.dispose()
  try {
    // Codes times scales fit float32 always.
    if (float.dtype !== 'float32') await checkFinite(name, { name: planned.path, byteOffset: 0 }, float)
  } catch (error) {
    float.dispose()
    throw error
  }
  return float
}

/** Methods that see data, whose code is loaded when they are used. */
const calibratedMethods = ['gptq', 'awq']

/**
 * @returns the method that sees data, if one is asked for
 * @throws DTypeError or ShapeError for options that there are not, before anything is read
 */
async function checkLoadOptions(options: LoadOptions): Promise<CalibratedMethod | null> {
  checkOptions('loadCausalLM', options, optionKinds)
  if (options.fuseMaxSeqLen !== undefined && !options.doFuse)
    throw new ShapeError(
      `loadCausalLM: fuseMaxSeqLen belongs to doFuse: true; received ${options.fuseMaxSeqLen} without it`,
    )
  const { quantization } = options
  if (quantization === undefined) return null
  const operation = 'loadCausalLM: quantization'
  if (calibratedMethods.includes(quantization.method)) {
    const { calibratedMethod } = await import('./calibratedMethods.ts')
    return calibratedMethod(operation, quantization as CalibratedQuantization)
  }
  planQuantization(operation, quantization as Quantization, calibratedMethods)
  return null
}

/**
 * Puts a parameter wherever it stands; where `freezing`, quantized twins take its codes, and the float goes
 * unless another module holds it.
 */
function placeParameter(
  model: CausalLM,
  paths: readonly string[],
  parameter: Parameter,
  freezing: boolean,
): void {
  const twins = new Set<QWeightModule>()
  let held = false
  for (const path of paths) {
    const module = model.getModule(parentPath(path))
    model.setParameter(path, parameter)
    if (
      freezing &&
      module instanceof QWeightModule &&
      parameter instanceof Tensor &&
      path.endsWith('.weight')
    )
      twins.add(module)
    else held = true
  }
  freezeTwins([...twins])
  if (!held) parameter.dispose()
}

/** Reads everything but the weights; the plan's model has shapes only. The caller closes the plan. */
export async function planCausalLM(
  place: ModelPlace,
  options: OpenOptions = {},
): Promise<LoadPlan<CausalLM>> {
  check('loadCausalLM', 'place', place, aModelPlace)
  if (isFiles(place)) return planFiles(place)
  if (place instanceof Blob) return planGguf(blobSource(place))
  if (typeof place !== 'string' && !(place instanceof URL)) return planFolder(place)
  return isGgufPath(place)
    ? planGguf(await openFile(place, options), String(place), options)
    : planFolder(await openFolder(place, options))
}

function isFiles(place: ModelPlace): place is readonly File[] {
  return Array.isArray(place)
}

/** One GGUF file, or the files of a folder. */
function planFiles(files: readonly File[]): Promise<LoadPlan<CausalLM>> {
  const [first] = files
  return files.length === 1 && isGgufPath(first.name)
    ? planGguf(blobSource(first))
    : planFolder(filesFolder(files))
}

type Gguf = typeof import('./ggufPlan.ts')

/** Loaded when used: whoever has no GGUF file need not wait for what reads one. */
async function planGguf(...model: Parameters<Gguf['planGguf']>): Promise<LoadPlan<CausalLM>> {
  const gguf = await import('./ggufPlan.ts')
  return gguf.planGguf(...model)
}

/** Whether a path or URL names a GGUF file; a URL may have a query. */
export function isGgufPath(place: string | URL): boolean {
  const isHttp = /^https?:\/\//i.test(String(place)) && URL.canParse(place)
  return /\.gguf([?#].*)?$/i.test(isHttp ? new URL(place).pathname : String(place))
}
