import { saveFolder } from '#files'
import { FormatError } from '../core/errors.ts'
import { aBoolean, aFunction, aSignal, check, oneOf, wholeNumber } from '../core/kinds.ts'
import { several } from '../core/lists.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { type Container, safetensorsFolder } from '../formats/containers.ts'
import { pythonJson } from '../formats/json.ts'
import type { ModelWriter } from '../formats/modelWriter.ts'
import { storedBytes } from '../formats/safetensors.ts'
import { writeCheckpoint } from '../formats/safetensorsWriter.ts'
import {
  configFields,
  type LayerToWrite,
  type SchemeSettings,
  type SchemeWriter,
} from '../formats/schemes/scheme.ts'
import { type WritingScheme, writingSchemes } from '../formats/schemes/targets.ts'
import { refusalOf } from '../formats/schemes/weightKind.ts'
import { aTarget, type FolderSink, writeText } from '../formats/source.ts'
import type { TensorToWrite } from '../formats/tensorFile.ts'
import { aModule, type Module } from '../nn/module.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import { hasFiles, isSavedFile } from './checkpoint.ts'
import { inputModes, lostInputs } from './inputModes.ts'
import { layersToWrite, type ModelLayers, type SavedPart, writtenTensors } from './savedTensors.ts'
import { placeParts, writePart } from './writeParts.ts'

/** How a model is saved. */
export interface SaveOptions {
  /**
   * Replaces a model that was saved before; it stays whole until the new one is. A folder that holds anything
   * else is refused.
   */
  overwrite?: boolean
  signal?: AbortSignal
  /**
   * Saves the float weights of quantized layers that are not frozen, a checkpoint of quantization-aware
   * training; else they are refused.
   */
  unfrozen?: boolean
  /** The scheme of quantized layers; default: the first that holds their types, quanto or bitsandbytes. */
  format?: string
  /** Bytes of a file before the weights go on in another; default 5 GB. */
  maxShardBytes?: number
  /**
   * Is told, before anything is written, what other readers of the format cannot load of the model; default:
   * `console.warn`.
   */
  onWarning?: (message: string) => void
  /** Called with the bytes written so far, and all. */
  onProgress?: (bytes: number, totalBytes: number) => void
}

/** What writes a model into a container under the names that it has there. */
export type WriterFor = (container: Container) => Promise<ModelWriter | undefined>

const optionKinds: OptionKinds<SaveOptions> = {
  overwrite: aBoolean,
  signal: aSignal,
  unfrozen: aBoolean,
  format: oneOf(...writtenSchemes()),
  maxShardBytes: wholeNumber(1),
  onWarning: aFunction,
  onProgress: aFunction,
}

/** The schemes whose parts stand in a folder. */
export function folderSchemes(): WritingScheme[] {
  return writingSchemes().filter(({ writer: { container = safetensorsFolder } }) => container.file === null)
}

/** The schemes that models can be saved in, language models alone in those of one file. */
export function writtenSchemes(): string[] {
  return writingSchemes().map(({ name }) => name)
}

/** The scheme of models without quantized layers, and of those that it holds. */
export function defaultScheme(): WritingScheme {
  return folderSchemes()[0]
}

/**
 * The scheme of that name; where none is asked for, the first that holds every weight of a model as it is.
 * @throws FormatError if it cannot hold the model
 */
export async function schemeToWrite(format: string | undefined, layers: ModelLayers): Promise<WritingScheme> {
  const named = writingSchemes().find(({ name }) => name === format)
  const candidates = named ? [named] : folderSchemes().filter((each) => holdsTypes(each, layers))
  const refusals: string[] = []
  for (const scheme of candidates) {
    const refused = refusal(scheme, [...layers.quantized.values()]) ?? (await misfit(scheme, layers.frozen))
    if (refused === null) return scheme
    refusals.push(refused)
  }
  if (refusals.length > 0) {
    const others = candidates.slice(1).map(({ name }) => name)
    throw new FormatError(
      `save: ${refusals[0]}${others.length > 0 ? `; nor can ${several(others)} hold all of it` : ''}`,
    )
  }
  const types = [...layers.quantized.values()].flatMap(
    ({ weight, weights }) => weight?.qtype ?? weights ?? [],
  )
  const names = [...new Set(types.map(({ name }) => name))].join(' and ')
  throw new FormatError(
    `save: a format must hold the weights' types, ${names}; none that lowbit writes does, so dequantize the model, or keep the files it came from`,
  )
}

/** Whether a scheme has the types of all weights. */
export function holdsTypes({ writer }: WritingScheme, { quantized }: ModelLayers): boolean {
  return [...quantized.values()].every(({ weight, weights }) => {
    const type = weight?.qtype ?? weights
    return !type || writer.types.includes(type)
  })
}

/** @throws FormatError if a scheme cannot hold all layers */
export function refuseLayers(scheme: WritingScheme, layers: readonly LayerToWrite[]): void {
  const refused = refusal(scheme, layers)
  if (refused !== null) throw new FormatError(`save: ${refused}`)
}

/** Why a scheme cannot hold layers; null if it can. */
function refusal({ name, writer }: WritingScheme, layers: readonly LayerToWrite[]): string | null {
  for (const { path, typeName, weight, activations } of layers) {
    if (activations && !writer.activations?.includes(activations))
      return `${name} must hold quantized activations; it does not, and those of ${path} are ${activations.name}`
    if (weight && writer.reads && !writer.reads.includes(typeName.replace(/^Q/, '')))
      return `${name} must be able to hold ${path}; it is a ${typeName}, and the format has codes of ${writer.reads.join(' and ')} alone`
    const reason = weight && refusalOf(writer, weight)
    if (reason) return `${name} must be able to hold ${path}; ${reason}`
  }
  return null
}

/** Why the values of weights that are there do not fit a scheme that refuses none; null if they do. */
async function misfit(scheme: WritingScheme, weights: ReadonlyMap<string, QTensor>): Promise<string | null> {
  for (const [path, weight] of weights) {
    const reason = await scheme.writer.fits?.(weight)
    if (reason) return `${scheme.name} must be able to hold ${path}; ${reason}`
  }
  return null
}

/** @throws FormatError if the values of a weight that the scheme does not refuse do not fit it */
export async function refuseMisfit(scheme: WritingScheme, path: string, weight: QTensor): Promise<void> {
  const reason = await misfit(scheme, new Map([[path, weight]]))
  if (reason !== null) throw new FormatError(`save: ${reason}`)
}

/**
 * What `save` of models/save.ts does.
 * @param target a path, or a folder to write into (then file by file)
 * @param writerFor what writes the model into a container of one file; undefined where nothing does
 * @returns bytes written
 * @throws FormatError if quantized layers are not frozen, the target holds files (with `overwrite`: other
 * files than a save's) or cannot be written, the format cannot hold the model, or a tensor holds NaN or
 * infinity
 */
export async function save(
  model: Module,
  target: string | FolderSink,
  options: SaveOptions = {},
  writerFor?: WriterFor,
): Promise<number> {
  check('save', 'model', model, aModule)
  check('save', 'target', target, aTarget)
  checkOptions('save', options, optionKinds)
  if (!options.unfrozen) checkFrozen(model)
  const layers = await layersToWrite(model)
  const { writer } = await schemeToWrite(options.format, layers)
  const container = await fileWriter(model, writer, writerFor)
  const tensors = [...writtenTensors(model, writer, layers)]
  const warn = options.onWarning ?? ((message) => console.warn(`lowbit: ${message}`))
  const lost = lostInputs(inputModes(model), writer, layers.quantized).map((what) => `save: ${what}`)
  const unread = hasFiles(model) && !container ? model.saveLimits : []
  for (const message of [...writer.limits(layers.quantized), ...lost, ...unread]) warn(message)
  const { quantized, floats } = layers
  const settings = quantized.size > 0 ? writer.settings(quantized, floats) : {}
  const write = (folder: FolderSink) =>
    container
      ? writeFile(folder, tensors, container, options)
      : writeModel(model, folder, tensors, settings, options)
  const { overwrite = false, signal } = options
  if (typeof target === 'string') {
    const file = container?.file
    return saveFolder(target, write, { overwrite: overwrite ? isSavedFile : undefined, signal, file })
  }
  return saveInto(target, write, overwrite)
}

/**
 * What writes a model into the one file of a scheme; undefined where it stands in a folder.
 * @throws FormatError if the file cannot hold the model
 */
async function fileWriter(
  model: Module,
  { container = safetensorsFolder }: SchemeWriter,
  writerFor?: WriterFor,
): Promise<ModelWriter | undefined> {
  if (container.file === null) return undefined
  const writer = await writerFor?.(container)
  if (writer) return writer
  throw new FormatError(
    `save: ${container.name} must be given a language model; received a ${model.typeName}`,
  )
}

/** Writes the tensors of a model into one file. */
async function writeFile(
  folder: FolderSink,
  parts: readonly SavedPart[],
  writer: ModelWriter,
  { signal, onProgress }: SaveOptions,
): Promise<number> {
  const places = await placeParts(folder, parts, writer)
  const bytesOf = ({ source }: SavedPart) => source?.byteLength ?? 0
  const total = parts.reduce((sum, part) => sum + bytesOf(part), 0)
  let done = 0
  for (const part of parts) {
    signal?.throwIfAborted()
    await writePart(part, places)
    done += bytesOf(part)
    onProgress?.(done, total)
  }
  return places.placed.close()
}

/**
 * Writes into a folder of the caller's, whose other files stay; of a model that was saved there before
 * nothing may.
 */
async function saveInto(
  folder: FolderSink,
  write: (folder: FolderSink) => Promise<number>,
  overwrite: boolean,
): Promise<number> {
  const stale = new Set((await folder.list?.())?.filter(isSavedFile))
  if (stale.size > 0 && !overwrite)
    throw new FormatError(
      `save: the folder must hold no saved model, unless overwrite is set; it holds ${several([...stale])}`,
    )
  const create = (file: string) => {
    stale.delete(file)
    return folder.create(file)
  }
  const bytes = await write({ create })
  for (const file of stale) await folder.remove?.(file)
  return bytes
}

/** @throws FormatError if quantized modules still hold float weights, which would be saved as such */
function checkFrozen(model: Module): void {
  const floats = [...model.namedModules()].flatMap(([path, module]) =>
    module instanceof QWeightModule && !module.frozen ? [path] : [],
  )
  if (floats.length === 0) return
  const advice = 'freeze(model) first, or pass unfrozen: true to save the floats, to go on training from'
  throw new FormatError(
    `save: quantized layers must be frozen, so that their codes are saved; ${several(floats)} hold floats; ${advice}`,
  )
}

async function writeModel(
  model: Module,
  folder: FolderSink,
  tensors: TensorToWrite[],
  settings: SchemeSettings,
  options: SaveOptions,
): Promise<number> {
  const total = tensors.reduce((sum, tensor) => sum + storedBytes(tensor.dtype, tensor.shape), 0)
  let written = 0
  let bytes = 0
  const counting: FolderSink = {
    async create(file) {
      const sink = await folder.create(file)
      return {
        async write(chunk) {
          bytes += chunk.byteLength
          await sink.write(chunk)
        },
        close: () => sink.close(),
      }
    },
  }
  const reported = tensors.map((tensor) => ({
    ...tensor,
    async bytes() {
      options.signal?.throwIfAborted()
      const content = await tensor.bytes()
      written += content.byteLength
      options.onProgress?.(written, total)
      return content
    },
  }))
  const { maxShardBytes } = options
  const metadata = { format: 'pt', ...settings.texts }
  await writeCheckpoint(counting, reported, { metadata, maxShardBytes })
  const fields = configFields(settings)
  const texts = new Map(hasFiles(model) ? model.savedFiles(fields) : [])
  if (Object.keys(fields).length > 0 && !hasFiles(model)) texts.set('config.json', pythonJson(fields, 2))
  for (const [name, text] of [...texts, ...(settings.files ?? [])]) await writeText(counting, name, text)
  return bytes
}
