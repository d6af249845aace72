import { openFile, openFolder } from '#files'
import type { Device } from '../devices/device.ts'
import { openDevice } from '../devices/open.ts'
import { openCheckpoint } from '../formats/checkpoint.ts'
import { readQuantoMap } from '../formats/quanto.ts'
import { openSafetensors } from '../formats/safetensors.ts'
import type { Folder } from '../formats/source.ts'
import type { Module } from '../nn/module.ts'
import { applyTypes, loadTensors, type SavedTensor } from './stateDict.ts'

/**
 * Loads a folder that `save` wrote into a model of the same layers, which needs no memory before: those that `quanto_qmap.json` (or
 * `quantization_map.json`) names become quantized twins.
 *
 *     const model = await load(new Net(), 'net-int8')
 *
 * @returns the model
 * @throws FormatError that lists every tensor that is missing, too many, or of another shape
 */
export async function load<M extends Module>(model: M, place: string | URL | Folder, options: { device?: Device } = {}): Promise<M> {
  const folder = typeof place === 'string' || place instanceof URL ? await openFolder(place) : place
  const file = await openCheckpoint(folder)
  try {
    const map = await readQuantoMap(folder)
    const types = [...(map ?? [])].map(([path, { weights, activations, outputQuantized }]) => {
      return [path, { weights: weights?.name ?? 'none', activations: activations?.name ?? 'none', outputQuantized }] as const
    })
    applyTypes(model, Object.fromEntries(types))
    await loadTensors(model, file, options.device ?? openDevice())
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
  const file = await openSafetensors(await openFile(path))
  try {
    const state = new Map<string, SavedTensor>()
    for (const { name, dtype, shape } of file.tensors.values()) state.set(name, { dtype, shape, bytes: (await file.read(name)).slice() })
    return state
  } finally {
    await file.close()
  }
}
