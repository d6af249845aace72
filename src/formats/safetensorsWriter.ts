import { FormatError } from '../core/errors.ts'
import { showShape } from '../core/shape.ts'
import { weightsIndexName, weightsName } from './checkpoint.ts'
import { pythonJson, show } from './json.ts'
import type { PlacedTensors } from './modelWriter.ts'
import { maxHeaderBytes, safetensorsDTypes, safetensorsWord, storedBytes } from './safetensors.ts'
import { type ByteSink, type FolderSink, writeText } from './source.ts'
import type { TensorHead, TensorToWrite } from './tensorFile.ts'

/** transformers' default: 5 GB, in units of 10⁹. */
export const defaultShardBytes = 5e9

type Tensors = Iterable<TensorToWrite> | AsyncIterable<TensorToWrite>

/** The format's words for dtypes in the reference writer's order. */
const words = Object.keys(safetensorsDTypes)

/**
 * Writes tensors as the reference implementation would, byte for byte: wide dtypes first, then by name. Each
 * tensor's bytes are asked for in that order, one tensor at a time.
 * Source: https://github.com/huggingface/safetensors, safetensors/src/tensor.rs, `prepare`.
 * @throws FormatError if two tensors share a name, or the bytes given do not fit the shape.
 */
export async function writeSafetensors(
  sink: ByteSink,
  tensors: Tensors,
  metadata: Record<string, string> = {},
): Promise<void> {
  const sorted = (await collect(tensors)).sort((a, b) => rankOf(b) - rankOf(a) || byCodePoint(a.name, b.name))
  await sink.write(encodeHeader(sorted, metadata))
  for (const tensor of sorted) {
    const bytes = await tensor.bytes()
    if (bytes.byteLength !== byteLength(tensor)) {
      throw misfit(tensor.name, tensor, String(bytes.byteLength))
    }
    await sink.write(bytes)
  }
}

/**
 * Writes the weights of a model folder: `model.safetensors`, or, when they need more than `maxShardBytes`,
 * shards `model-00001-of-00002.safetensors` … in the order given and the index that names them, as
 * transformers does. A tensor above the limit gets a shard of its own. Returns the names of the files
 * written.
 * Source: https://github.com/huggingface/huggingface_hub, serialization/_base.py,
 * `split_state_dict_into_shards_factory`.
 * @throws FormatError as `writeSafetensors`.
 */
export async function writeCheckpoint(
  folder: FolderSink,
  tensors: Tensors,
  {
    metadata = { format: 'pt' },
    maxShardBytes = defaultShardBytes,
  }: { metadata?: Record<string, string>; maxShardBytes?: number } = {},
): Promise<string[]> {
  const shards = splitShards(await collect(tensors), maxShardBytes)
  if (shards.length === 1) {
    await writeFile(folder, weightsName, shards[0], metadata)
    return [weightsName]
  }
  const names = shardNames(shards)
  for (const [i, shard] of shards.entries()) await writeFile(folder, names[i], shard, metadata)
  await writeText(folder, weightsIndexName, indexText(shards, names))
  return [...names, weightsIndexName]
}

/**
 * Lays out the files that `writeCheckpoint` writes, for tensors that come in another order than they stand
 * in. Where a sink takes bytes in order only, they are held until the end.
 * @throws FormatError as `writeSafetensors`
 */
export async function placeCheckpoint(
  folder: FolderSink,
  tensors: readonly TensorHead[],
  {
    metadata = { format: 'pt' },
    maxShardBytes = defaultShardBytes,
  }: { metadata?: Record<string, string>; maxShardBytes?: number } = {},
): Promise<PlacedTensors> {
  const shards = splitShards(tensors, maxShardBytes)
  const names = shards.length === 1 ? [weightsName] : shardNames(shards)
  const places = new Map<string, TensorPlace>()
  const ends: (() => Promise<void>)[] = []
  let total = 0
  for (const [i, shard] of shards.entries()) {
    const sorted = shard.toSorted((a, b) => rankOf(b) - rankOf(a) || byCodePoint(a.name, b.name))
    const sink = await folder.create(names[i])
    const header = encodeHeader(sorted, metadata)
    await sink.write(header)
    const held = new Map<number, Uint8Array>()
    const write = async (offset: number, bytes: Uint8Array) => {
      if (sink.writeAt) await sink.writeAt(offset, bytes)
      else held.set(offset, bytes.slice())
    }
    let offset = header.byteLength
    for (const tensor of sorted) {
      places.set(tensor.name, { tensor, offset, write, lacking: byteLength(tensor) })
      offset += byteLength(tensor)
    }
    total += offset
    ends.push(async () => {
      for (const [, bytes] of [...held].sort(([a], [b]) => a - b)) await sink.write(bytes)
      await sink.close()
    })
  }
  return {
    async put(name, start, bytes) {
      const place = places.get(name)
      const end = start + bytes.byteLength
      if (!place || end > byteLength(place.tensor))
        throw misfit(name, place?.tensor, `bytes ${start} to ${end}`)
      place.lacking -= bytes.byteLength
      await place.write(place.offset + start, bytes)
    },
    async close() {
      for (const [name, { tensor, lacking }] of places)
        if (lacking !== 0) throw misfit(name, tensor, String(byteLength(tensor) - lacking))
      for (const end of ends) await end()
      if (shards.length === 1) return total
      const text = indexText(shards, names)
      await writeText(folder, weightsIndexName, text)
      return total + new TextEncoder().encode(text).byteLength
    },
  }
}

/** Where a tensor's bytes stand in its file. */
interface TensorPlace {
  readonly tensor: TensorHead
  readonly offset: number
  write(offset: number, bytes: Uint8Array): Promise<void>
  /** Bytes that were not put yet. */
  lacking: number
}

function misfit(name: string, tensor: TensorHead | undefined, received: string): FormatError {
  const must = tensor
    ? `have ${byteLength(tensor)} bytes, as ${tensor.dtype} ${showShape(tensor.shape)}`
    : 'be one of those placed'
  return new FormatError(`safetensors: tensor ${show(name)} must ${must}; received ${received}`, {
    tensor: name,
  })
}

function shardNames(shards: readonly unknown[]): string[] {
  return shards.map((_, i) => `model-${fiveDigits(i + 1)}-of-${fiveDigits(shards.length)}.safetensors`)
}

async function writeFile(
  folder: FolderSink,
  name: string,
  tensors: TensorToWrite[],
  metadata: Record<string, string>,
): Promise<void> {
  const sink = await folder.create(name)
  try {
    await writeSafetensors(sink, tensors, metadata)
  } finally {
    await sink.close()
  }
}

function splitShards<T extends TensorHead>(tensors: readonly T[], maxShardBytes: number): T[][] {
  const shards: T[][] = []
  let current: T[] = []
  let currentBytes = 0
  for (const tensor of tensors) {
    const bytes = byteLength(tensor)
    if (bytes > maxShardBytes) {
      shards.push([tensor])
      continue
    }
    if (currentBytes + bytes > maxShardBytes) {
      shards.push(current)
      current = []
      currentBytes = 0
    }
    current.push(tensor)
    currentBytes += bytes
  }
  if (current.length > 0 || shards.length === 0) shards.push(current)
  return shards
}

/**
 * As `json.dumps(index, indent=2, sort_keys=True)`; by hand, because JavaScript objects move keys that look
 * like numbers.
 */
function indexText(shards: TensorHead[][], names: string[]): string {
  const entries = shards.flatMap((shard, i) => shard.map((tensor) => [tensor.name, names[i]] as const))
  entries.sort(([a], [b]) => byCodePoint(a, b))
  const totalBytes = shards.flat().reduce((sum, tensor) => sum + byteLength(tensor), 0)
  const lines = entries.map(([tensor, shard]) => `    ${pythonJson(tensor, 0)}: ${pythonJson(shard, 0)}`)
  return `{\n  "metadata": {\n    "total_size": ${totalBytes}\n  },\n  "weight_map": {\n${lines.join(',\n')}\n  }\n}\n`
}

function encodeHeader(sorted: TensorHead[], metadata: Record<string, string>): Uint8Array {
  const names = new Set<string>()
  const fields: string[] =
    Object.keys(metadata).length === 0 ? [] : [`"__metadata__":${JSON.stringify(metadata)}`]
  let offset = 0
  for (const tensor of sorted) {
    const { name, dtype, shape } = tensor
    if (names.has(name) || name === '__metadata__') {
      throw new FormatError(
        `safetensors: each tensor must have a name of its own; received ${show(name)}${names.has(name) ? ' twice' : ''}`,
        {
          tensor: name,
        },
      )
    }
    names.add(name)
    const end = offset + byteLength(tensor)
    fields.push(
      `${JSON.stringify(name)}:${JSON.stringify({ dtype: safetensorsWord(dtype), shape, data_offsets: [offset, end] })}`,
    )
    offset = end
  }
  const json = new TextEncoder().encode(`{${fields.join(',')}}`)
  const length = Math.ceil(json.byteLength / 8) * 8
  if (length > maxHeaderBytes)
    throw new FormatError(
      `safetensors: the header must have at most ${maxHeaderBytes} bytes; it needs ${length}`,
    )
  const header = new Uint8Array(8 + length).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true)
  header.set(json, 8)
  return header
}

async function collect(tensors: Tensors): Promise<TensorToWrite[]> {
  const all: TensorToWrite[] = []
  for await (const tensor of tensors) all.push(tensor)
  return all
}

function byteLength({ dtype, shape }: TensorHead): number {
  return storedBytes(dtype, shape)
}

function rankOf({ dtype }: TensorHead): number {
  return words.indexOf(safetensorsWord(dtype))
}

function fiveDigits(n: number): string {
  return String(n).padStart(5, '0')
}

/**
 * The order of Rust and Python strings; JavaScript compares UTF-16 units, which puts surrogates below U+E000.
 */
function byCodePoint(a: string, b: string): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    if (a[i] !== b[i]) return weightOf(a.charCodeAt(i)) - weightOf(b.charCodeAt(i))
  }
  return a.length - b.length
}

function weightOf(unit: number): number {
  const surrogate = unit >= 0xd800 && unit < 0xe000
  return surrogate ? unit + 0x10000 : unit
}
