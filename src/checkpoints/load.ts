import { openFile, openFolder } from '#files'
import { isDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { aFunction, aString, check, either, instanceOf } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { openDevice } from '../devices/open.ts'
import { openCheckpoint, openTensors } from '../formats/checkpoint.ts'
import { type JsonObject, readJson } from '../formats/json.ts'
import type { QuantizedFile } from '../formats/schemes/scheme.ts'
import { aPlace, type Folder } from '../formats/source.ts'
import type { TensorFile } from '../formats/tensorFile.ts'
import { aModule, type Module } from '../nn/module.ts'
import { detectFolder, quantizationSettings } from './detect.ts'
import { fillModel } from './fill.ts'
import { refuseProblems } from './problems.ts'
import { type LoadStateOptions, loadStateKinds, type SavedTensor } from './stateDict.ts'
import { quantizedTwins } from './twins.ts'

/** How `load` fills a model. */
export interface LoadModuleOptions extends LoadStateOptions {
  /** Without `strict`: is told what was missing and what was not known; default: `console.warn`. */
  onWarning?: (message: string) => void
}

const optionKinds: OptionKinds<LoadModuleOptions> = { ...loadStateKinds, onWarning: aFunction }

/**
 * Loads a folder that `save` wrote into a model of the same layers, which needs no memory before: those that
 * are saved quantized become quantized twins.
 *
 *     const model = await load(new Net(), 'net-int8')
 *
 * @returns the model
 * @throws FormatError that lists every tensor that is missing, too many, or of another shape; the model is
 * then as before
 */
export async function load<M extends Module>(
  model: M,
  place: string | URL | Folder,
  options: LoadModuleOptions = {},
): Promise<M> {
  check('load', 'model', model, aModule)
  check('load', 'place', place, aPlace)
  checkOptions('load', options, optionKinds)
  const folder = typeof place === 'string' || place instanceof URL ? await openFolder(place) : place
  const file = await openCheckpoint(folder)
  try {
    const { quantized } = await detectFolder(folder, await quantizationConfig(folder), file)
    const warn = options.onWarning ?? ((message) => console.warn(`lowbit: ${message}`))
    const undo = quantized ? putTwins(model, quantized, file) : () => {}
    // Some are known once the layers were asked for.
    for (const warning of quantized?.warnings ?? []) warn(warning)
    const { device = openDevice(), dtype, strict = true } = options
    const loaded = fillModel(model, file, quantized, { device, dtype, strict })
    const { missingKeys, unexpectedKeys } = await loaded.catch((error: unknown) => {
      undo()
      throw error
    })
    if (missingKeys.length > 0)
      warn(`load: ${folder.name} has no ${missingKeys.join(', ')}; they are as they were`)
    if (unexpectedKeys.length > 0)
      warn(
        `load: the model has no ${unexpectedKeys.join(', ')}, which ${folder.name} holds; they were passed over`,
      )
    return model
  } finally {
    await file.close()
  }
}

/** Puts the twins of a file's quantized layers in their place. @returns what puts the layers back */
function putTwins(model: Module, quantized: QuantizedFile, file: TensorFile): () => void {
  const { twins, problems } = quantizedTwins(model, quantized, file)
  refuseProblems(`${file.name}: the layers that are quantized must be those of the model`, problems)
  model.replaceModules(twins)
  return () => model.replaceModules(new Map([...twins].map(([layer, twin]) => [twin, layer])))
}

/** What config.json says of the weights' quantization, where there is one. */
async function quantizationConfig(folder: Folder): Promise<JsonObject | null> {
  if (!(await folder.has('config.json'))) return null
  const config = await readJson(folder, 'config.json')
  return quantizationSettings(config)
}

/**
 * The tensors of a .safetensors file, or of one that `torch.save` wrote (.pt, .pth or .bin), by name, for
 * `loadStateDict`.
 * @throws FormatError if it is not such a file
 */
export async function readStateDict(path: string | URL): Promise<Map<string, SavedTensor>> {
  check('readStateDict', 'path', path, either('be a path or a URL', aString, instanceOf(URL, 'be a URL')))
  const file = await openTensors(await openFile(path), String(path))
  try {
    const state = new Map<string, SavedTensor>()
    for (const { name, dtype, shape } of file.tensors.values()) {
      if (!isDType(dtype))
        throw new FormatError(
          `${file.name}: ${name} must have a dtype that lowbit has values of; it has ${dtype}`,
          { tensor: name },
        )
      state.set(name, { dtype, shape, bytes: (await file.read(name)).slice() })
    }
    return state
  } finally {
    await file.close()
  }
}
