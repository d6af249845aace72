import { saveFolder } from '#files'
import { dtypes, isFloatDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { aBoolean, aFunction, aSignal, check, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { numel } from '../core/shape.ts'
import { pythonJson } from '../formats/json.ts'
import { formatQuantoMap, type QuantoMap, type QuantoModule } from '../formats/quanto.ts'
import { writeCheckpoint } from '../formats/safetensorsWriter.ts'
import { aTarget, type FolderSink, writeText } from '../formats/source.ts'
import type { TensorToWrite } from '../formats/tensorFile.ts'
import { aModule, type Module } from '../nn/module.ts'
import { QModule, QWeightModule } from '../nn/qmodule.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { isSavedFile } from './checkpoint.ts'
import { checkFinite } from './loadTensor.ts'
import { Pretrained } from './pretrained.ts'
import { quantoTwins, writtenTensors } from './savedTensors.ts'

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
  /** Bytes of a file before the weights go on in another; default 5 GB. */
  maxShardBytes?: number
  /**
   * Is told, before anything is written, what Python's quanto cannot load of the model; default:
   * `console.warn`.
   */
  onWarning?: (message: string) => void
  /** Called with the bytes written so far, and all. */
  onProgress?: (bytes: number, totalBytes: number) => void
}

const optionKinds: OptionKinds<SaveOptions> = {
  overwrite: aBoolean,
  signal: aSignal,
  unfrozen: aBoolean,
  maxShardBytes: wholeNumber(1),
  onWarning: aFunction,
  onProgress: aFunction,
}

/**
 * Saves a model, a language model in Hugging Face layout, its quantized modules as quanto saves them:
 * Python's `QuantizedModelForCausalLM.from_pretrained` reads the folder. It appears whole or not at all.
 * @param target a path, or a folder to write into (then file by file)
 * @returns bytes written
 * @throws FormatError if quantized layers are not frozen, the target holds files (with `overwrite`: other
 * files than a save's), or
 *   cannot be written, quanto's format cannot hold the model, or a tensor holds NaN or infinity
 */
export async function save(
  model: Module,
  target: string | FolderSink,
  options: SaveOptions = {},
): Promise<number> {
  check('save', 'model', model, aModule)
  check('save', 'target', target, aTarget)
  checkOptions('save', options, optionKinds)
  if (!options.unfrozen) checkFrozen(model)
  const tensors = [...writtenTensors(model)]
  const warn = options.onWarning ?? ((message) => console.warn(`lowbit: ${message}`))
  for (const message of beyondQuanto(model)) warn(message)
  const write = (folder: FolderSink) => writeModel(model, folder, tensors, options)
  const { overwrite = false, signal } = options
  if (typeof target === 'string')
    return saveFolder(target, write, { overwrite: overwrite ? isSavedFile : undefined, signal })
  return saveInto(target, write, overwrite)
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

/** What of a model Python's quanto cannot load, or not as it is: a sentence each. */
function* beyondQuanto(model: Module): Generator<string> {
  const modules = [...model.namedModules()].filter(
    (entry): entry is [string, QModule] => entry[1] instanceof QModule,
  )
  const unknown = modules.filter(([, { typeName }]) => !quantoTwins.includes(typeName))
  if (unknown.length > 0) {
    const listed = several(unknown.map(([path, { typeName }]) => `${path} (${typeName})`))
    yield `save: Python's optimum-quanto cannot load ${listed}; lowbit can`
  }
  const shifted = modules.filter(([, { weight }]) => weight instanceof QTensor && weight.hasZeroPoints)
  if (shifted.length > 0)
    yield `save: quanto's format has no zero points z, only shifts, scale · z; so have ${several(shifted.map(([path]) => path))}, once loaded`
}

function several(items: readonly string[]): string {
  return items.slice(0, 4).join(', ') + (items.length > 4 ? ` and ${items.length - 4} more` : '')
}

async function writeModel(
  model: Module,
  folder: FolderSink,
  tensors: TensorToWrite[],
  options: SaveOptions,
): Promise<number> {
  const total = tensors.reduce((sum, tensor) => sum + numel(tensor.shape) * dtypes[tensor.dtype].bytes, 0)
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
      if (isFloatDType(tensor.dtype)) checkFinite('save', { ...tensor, byteOffset: 0 }, content)
      written += content.byteLength
      options.onProgress?.(written, total)
      return content
    },
  }))
  await writeCheckpoint(counting, reported, { maxShardBytes: options.maxShardBytes })
  if (model instanceof Pretrained) {
    await writeText(counting, 'config.json', pythonJson(model.savedConfig(), 2))
    for (const [name, text] of model.checkpoint?.files ?? [])
      await writeText(counting, name, typeof text === 'string' ? text : text())
  }
  const map = quantoMap(model)
  if (map.size > 0) await writeText(counting, 'quanto_qmap.json', formatQuantoMap(map))
  return bytes
}

/** The quantized modules of a model by all their paths, as quanto's files list them. */
export function quantoMap(model: Module): QuantoMap {
  const entries: [string, QuantoModule][] = []
  for (const [path, module] of model.namedModules({ removeDuplicate: false })) {
    if (!(module instanceof QModule)) continue
    const { weights, activations, outputQuantized } = module
    entries.push([
      path,
      {
        weights: weights ?? undefined,
        activations: activations ?? undefined,
        outputQuantized: !activations || outputQuantized,
      },
    ])
  }
  return new Map(entries)
}
