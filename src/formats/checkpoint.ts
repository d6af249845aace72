import { FormatError } from '../core/errors.ts'
import { anyOf, several } from '../core/lists.ts'
import { readJson, show } from './json.ts'
import { openSafetensors } from './safetensors.ts'
import { type ByteSource, checkFileName, type Folder } from './source.ts'
import { type TensorFile, type TensorInfo, tensorInfo, type UnknownTensor } from './tensorFile.ts'

export const weightsName = 'model.safetensors'
export const weightsIndexName = 'model.safetensors.index.json'

/** The weights of a folder: the first that is there counts. An index names several files. */
const weightsNames = [
  weightsName,
  weightsIndexName,
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
] as const

/**
 * The weights of a folder in Hugging Face layout: `model.safetensors`, else the shards that its index names;
 * of one without these `pytorch_model.bin`, or its shards; else the only `.safetensors` file that it holds.
 * @throws FormatError if the folder holds none of them, or what it holds is refused.
 */
export async function openCheckpoint(folder: Folder): Promise<TensorFile> {
  for (const name of weightsNames) {
    if (!(await folder.has(name))) continue
    return name.endsWith('.json') ? openSharded(folder, name) : openTensors(await folder.open(name), name)
  }
  const files = await folder.list().catch(() => [])
  // AutoGPTQ named the file after its settings: gptq_model-4bit-128g.safetensors.
  const [only, another] = files.filter((name) => name.endsWith('.safetensors'))
  if (only !== undefined && another === undefined) return openSafetensors(await folder.open(only))
  const held =
    files.length === 0
      ? 'it holds none of them'
      : `it holds ${files.slice(0, 10).join(', ')}${files.length > 10 ? ', …' : ''}`
  throw new FormatError(`${folder.name}: must hold ${anyOf(weightsNames)}; ${held}`)
}

/**
 * The tensors of a file, whose name says what it is; what reads PyTorch's files is loaded when there is one.
 */
export async function openTensors(source: ByteSource, name = source.name): Promise<TensorFile> {
  if (!/\.(bin|pt|pth)$/.test(name)) return openSafetensors(source)
  const { openPyTorch } = await import('./pytorch.ts')
  return openPyTorch(source)
}

/**
 * The shards that `index` names, as if they were one file.
 * @throws FormatError if a shard is missing or refused, a tensor is not in the shard that the index names, or
 * is in two.
 */
export async function openSharded(folder: Folder, index: string = weightsIndexName): Promise<TensorFile> {
  const weightMap = (await readJson(folder, index, { uniqueKeys: true })).object('weight_map')
  const shardOf = new Map(weightMap.keys().map((name) => [name, weightMap.string(name)]))
  const names = [...new Set(shardOf.values())].sort()
  for (const name of names) checkFileName(`${folder.name}/${index}`, name)

  const shards = new Map<string, TensorFile>()
  const close = async () => {
    await Promise.all([...shards.values()].map((shard) => shard.close()))
  }
  try {
    for (const name of names) shards.set(name, await openTensors(await folder.open(name), name))
    return joinShards(`${folder.name}/${index}`, shards, shardOf, close)
  } catch (error) {
    await close()
    throw (await missingShards(folder, names)) ?? error
  }
}

/** The error for several shards that are not there; null where they are, or one alone is not. */
async function missingShards(folder: Folder, names: readonly string[]): Promise<FormatError | null> {
  const there = await Promise.all(names.map((name) => folder.has(name).catch(() => true)))
  const missing = names.filter((_, i) => !there[i])
  if (missing.length < 2) return null
  return new FormatError(`${folder.name}: must hold ${several(missing)}; there are no such files`)
}

function joinShards(
  name: string,
  shards: ReadonlyMap<string, TensorFile>,
  shardOf: ReadonlyMap<string, string>,
  close: () => Promise<void>,
): TensorFile {
  const tensors = new Map<string, TensorInfo>()
  const unknown = new Map<string, UnknownTensor>()
  const holder = new Map<string, TensorFile>()
  for (const shard of shards.values()) {
    for (const tensor of [...shard.tensors.keys(), ...shard.unknown.keys()]) {
      const other = holder.get(tensor)
      if (other) {
        throw new FormatError(
          `${name}: tensor ${show(tensor)} must be in one shard; it is in ${other.name} and ${shard.name}`,
          { tensor },
        )
      }
      holder.set(tensor, shard)
    }
    for (const [tensor, info] of shard.tensors) tensors.set(tensor, info)
    for (const [tensor, type] of shard.unknown) unknown.set(tensor, type)
  }
  for (const [tensor, shard] of shardOf) {
    if (holder.get(tensor) !== shards.get(shard)) {
      const found = holder.get(tensor)?.name ?? 'in none'
      throw new FormatError(
        `${name}: tensor ${show(tensor)} must be in ${shard}, as weight_map says; it is ${found}`,
        { tensor },
      )
    }
  }
  // What no shard holds is said in the name of all.
  const shardWith = (tensor: string) =>
    holder.get(tensorInfo({ name, tensors, unknown }, tensor).name) as TensorFile
  return {
    name,
    tensors,
    unknown,
    texts: new Map([...shards.values()].flatMap(({ texts = [] }) => [...texts])),
    read: async (tensor) => shardWith(tensor).read(tensor),
    readRows: async (tensor, ...rows) => shardWith(tensor).readRows(tensor, ...rows),
    readBytes: async (tensor, ...bytes) => shardWith(tensor).readBytes(tensor, ...bytes),
    close,
  }
}
