import { openFile, openFolder } from '#files'
import { aFunction, aString, check, either, instanceOf } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { openDevice } from '../devices/open.ts'
import { openCheckpoint } from '../formats/checkpoint.ts'
import { readQuantoMap } from '../formats/quanto.ts'
import { openSafetensors } from '../formats/safetensors.ts'
import { aPlace, type Folder } from '../formats/source.ts'
import { aModule, type Module } from '../nn/module.ts'
import { loadTensors } from './loadTensors.ts'
import { applyTypes, type LoadStateOptions, loadStateKinds, type SavedTensor } from './stateDict.ts'

/** How `load` fills a model. */
export interface LoadModuleOptions extends LoadStateOptions {
  /** Without `strict`: is told what was missing and what was not known; default: `console.warn`. */
  onWarning?: (message: string) => void
}

const optionKinds: OptionKinds<LoadModuleOptions> = { ...loadStateKinds, onWarning: aFunction }

/**
 * Loads a folder that `save` wrote into a model of the same layers, which needs no memory before: those that
 * `quanto_qmap.json` (or `quantization_map.json`) names become quantized twins.
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
    const map = await readQuantoMap(folder)
    const types = [...(map ?? [])].map(([path, { weights, activations, outputQuantized }]) => {
      return [
        path,
        { weights: weights?.name ?? 'none', activations: activations?.name ?? 'none', outputQuantized },
      ] as const
    })
    const undo = applyTypes(model, Object.fromEntries(types))
    const loaded = loadTensors(model, file, options.device ?? openDevice(), options)
    const { missingKeys, unexpectedKeys } = await loaded.catch((error: unknown) => {
      undo()
      throw error
    })
    const warn = options.onWarning ?? ((message) => console.warn(`lowbit: ${message}`))
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

/**
 * The tensors of a .safetensors file, by name, for `loadStateDict`.
 * @throws FormatError if it is not such a file
 */
export async function readStateDict(path: string | URL): Promise<Map<string, SavedTensor>> {
  check('readStateDict', 'path', path, either('be a path or a URL', aString, instanceOf(URL, 'be a URL')))
  const file = await openSafetensors(await openFile(path))
  try {
    const state = new Map<string, SavedTensor>()
    for (const { name, dtype, shape } of file.tensors.values())
      state.set(name, { dtype, shape, bytes: (await file.read(name)).slice() })
    return state
  } finally {
    await file.close()
  }
}
