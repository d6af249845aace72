import { FormatError } from '../core/errors.ts'
import { anyOf } from '../core/lists.ts'
import { JsonObject, maxJsonBytes, parseJson, show } from '../formats/json.ts'
import { schemes } from '../formats/schemes/index.ts'
import type { QuantizedFile, Scheme } from '../formats/schemes/scheme.ts'
import { type Folder, readBytes } from '../formats/source.ts'
import type { TensorFile } from '../formats/tensorFile.ts'

/**
 * The scheme of a checkpoint's quantized weights, and how it reads them; `none` and null for a float model.
 */
export interface Detected {
  readonly scheme: string
  readonly quantized: QuantizedFile | null
}

/** The fields of config.json that say how the weights are quantized; the first that is there counts. */
export const settingsKeys: readonly string[] = [
  'quantization_config',
  ...schemes.flatMap(({ settingsKeys: keys = [] }) => keys),
]

/**
 * What a config.json says of how the weights are quantized; null where it says nothing.
 * @throws FormatError if it says so twice, and otherwise: mlx-lm writes the same under two names
 */
export function quantizationSettings(config: JsonObject): JsonObject | null {
  const [key, ...others] = settingsKeys.filter((one) => config.has(one))
  if (key === undefined) return null
  const other = others.find((one) => JSON.stringify(config.get(one)) !== JSON.stringify(config.get(key)))
  if (other !== undefined) throw config.error(other, `must be what ${key} is, which is there, too`)
  return config.object(key)
}

/**
 * Asks every scheme whether a folder is its own.
 * @param config its `quantizationSettings`
 * @throws FormatError if its settings are not sound, name no scheme that lowbit reads, or are not there
 */
export async function detectFolder(
  folder: Folder,
  config: JsonObject | null,
  file: TensorFile,
): Promise<Detected> {
  for (const scheme of schemes) {
    const own = config ? null : await ownSettings(scheme, folder)
    const quantized = await scheme.detect(config ?? own, file, own !== null)
    if (!quantized) continue
    await refuseSecond(scheme, folder, config ? 'config.json' : await ownFile(scheme, folder))
    return { scheme: scheme.name, quantized }
  }
  if (config) {
    const method = config.string('quant_method', 'unnamed')
    throw new FormatError(
      `${folder.name}/config.json: the weights must be floats, or quantized by ${anyOf(schemes.map(({ name }) => name))}; they are quantized by ${show(method)}, so take the float model`,
    )
  }
  for (const { name, settingsFiles = [], trace } of schemes) {
    const tensor = trace?.(file)
    if (tensor === undefined) continue
    throw new FormatError(
      `${folder.name}: must hold ${settingsFiles[0] ?? 'its settings'}, since ${show(tensor)} was quantized by ${name}; there is no such file`,
    )
  }
  return { scheme: 'none', quantized: null }
}

/**
 * @param said the file that says that a folder is a scheme's; null: its tensors tell
 * @throws FormatError if the folder holds the settings of another, too
 */
async function refuseSecond(
  { name, settingsFiles: shared = [] }: Scheme,
  folder: Folder,
  said: string | null,
): Promise<void> {
  for (const file of new Set(schemes.flatMap(({ settingsFiles = [] }) => settingsFiles))) {
    if (shared.includes(file) || !(await folder.has(file))) continue
    const others = schemes.filter(({ settingsFiles = [] }) => settingsFiles.includes(file))
    throw new FormatError(
      `${folder.name}: must be quantized in one way; ${said ?? 'its tensors'} ${said ? 'says' : 'say'} ${name}, and ${file} is there, which is of ${anyOf(others.map((one) => one.name))}`,
    )
  }
}

/** The first of a scheme's settings files that a folder holds; null where there is none. */
async function ownFile({ settingsFiles = [] }: Scheme, folder: Folder): Promise<string | null> {
  for (const name of settingsFiles) if (await folder.has(name)) return name
  return null
}

/** What that file holds. */
async function ownSettings(scheme: Scheme, folder: Folder): Promise<JsonObject | null> {
  const name = await ownFile(scheme, folder)
  if (name === null) return null
  const path = `${folder.name}/${name}`
  const bytes = await readBytes(folder, name, maxJsonBytes)
  return new JsonObject(parseJson(bytes, path, { uniqueKeys: true }), path)
}

/** Asks every scheme whether a file is its own: by its tensors, and settings if there are any. */
export async function detectFile(file: TensorFile, settings: JsonObject | null = null): Promise<Detected> {
  for (const scheme of schemes) {
    const quantized = await scheme.detect(settings, file, settings !== null)
    if (quantized) return { scheme: scheme.name, quantized }
  }
  return { scheme: 'none', quantized: null }
}
