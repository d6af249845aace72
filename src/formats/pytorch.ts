import { FormatError } from '../core/errors.ts'
import { numel, type Shape } from '../core/shape.ts'
import { stridedCopy } from '../kernels/layout/stridedCopy/stridedCopy.ts'
import { show } from './json.ts'
import { PickleEnd, readPickle } from './pickle.ts'
import { pytorchGlobals, type Storage, StoredView, storageOf } from './pytorchGlobals.ts'
import type { ByteSource } from './source.ts'
import { bytesOfRows, type TensorFile, type TensorInfo, tensorInfo } from './tensorFile.ts'
import { readZip } from './zip.ts'

/** A pickle names tensors; their values lie outside. */
export const maxPickleBytes = 32_000_000

/** What the files before zip archives start with, and their version. */
const legacyMagic = 0x1950a86a20f9469cfc6cn
const legacyVersion = 1001

/** What a file holds: a value with tensors in it, and where the bytes of their storages start. */
interface Contents {
  readonly value: unknown
  readonly starts: ReadonlyMap<string, number>
}

/**
 * The tensors of a file that `torch.save` wrote, `pytorch_model.bin` or `model.pt`: those of a state
 * dictionary by its names; of dictionaries and lists within others by the path that leads there. Whatever
 * else the file holds, is passed over; what would run code is refused. The file is a zip archive,
 *
 *     NAME/data.pkl      a pickle, in which storages are referred to
 *     NAME/data/KEY      the values of a storage
 *     NAME/byteorder     little or big
 *
 * or, as PyTorch before 1.6 wrote it, five pickles, one after the other (a number, a version, what is known
 * of the system, the value, and the keys of storages), and then for each key the number of its values in 8
 * bytes, and those. Takes over `source`: closes it when it is refused, and with the file.
 * @throws FormatError if it is neither, or holds more than tensors, numbers and texts
 */
export async function openPyTorch(source: ByteSource): Promise<TensorFile> {
  try {
    const head = await source.read(0, Math.min(4, source.size))
    const isZip = head.length === 4 && head[0] === 0x50 && head[1] === 0x4b && head[2] === 3 && head[3] === 4
    const { value, starts } = isZip ? await readArchive(source) : await readLegacy(source)
    return fileOf(source, namedViews(value, source.name), starts)
  } catch (error) {
    await source.close()
    throw error
  }
}

async function readArchive(source: ByteSource): Promise<Contents> {
  const { name } = source
  const entries = await readZip(source)
  const pickles = [...entries.keys()].filter((entry) => /^[^/]+\/data\.pkl$/.test(entry))
  if (pickles.length !== 1)
    throw new FormatError(
      `${name}: the archive must hold one data.pkl, as torch.save writes it; it holds ${pickles.length}`,
    )
  const root = pickles[0].slice(0, -'data.pkl'.length)
  const order = entries.get(`${root}byteorder`)
  if (order)
    checkOrder(
      new TextDecoder().decode(await source.read(order.byteOffset, Math.min(order.byteLength, 16))),
      name,
    )
  const { byteOffset, byteLength } = entries.get(pickles[0]) as { byteOffset: number; byteLength: number }
  if (byteLength > maxPickleBytes)
    throw new FormatError(`${name}: data.pkl must have at most ${maxPickleBytes} bytes; it has ${byteLength}`)
  const starts = new Map<string, number>()
  const persistent = (id: unknown) => {
    const storage = storageOf(id)
    const entry = entries.get(`${root}data/${storage.key}`)
    const bytes = storage.count * storage.type.bytes
    if (!entry || !(entry.byteLength >= bytes))
      throw new Error(
        `must find ${bytes} bytes in data/${storage.key}; there are ${entry?.byteLength ?? 'none'}`,
      )
    starts.set(storage.key, entry.byteOffset)
    return storage
  }
  const bytes = await source.read(byteOffset, byteLength)
  return { value: readPickle(bytes, { name, byteOffset, globals: pytorchGlobals, persistent }).value, starts }
}

function checkOrder(order: string, name: string): void {
  if (order !== 'little')
    throw new FormatError(`${name}: the values must be little-endian; byteorder says ${show(order)}`)
}

async function readLegacy(source: ByteSource): Promise<Contents> {
  const { name, size } = source
  // The pickles lie at the start; how long they are, only reading them tells.
  for (let length = 2 ** 20; ; length *= 8) {
    const bytes = await source.read(0, Math.min(length, size, maxPickleBytes))
    try {
      const { value, storages, end } = readLegacyPickles(bytes, name)
      return { value, starts: await legacyStarts(source, storages, end) }
    } catch (error) {
      if (error instanceof PickleEnd && bytes.length < Math.min(size, maxPickleBytes)) continue
      throw error
    }
  }
}

function readLegacyPickles(bytes: Uint8Array, name: string) {
  const storages = new Map<string, Storage>()
  const persistent = (id: unknown) => {
    const storage = storageOf(id)
    const { key, type, count } = storages.get(storage.key) ?? storage
    if (type !== storage.type || count !== storage.count)
      throw new Error(
        `must refer to storage ${show(key)} as ${count} values of one type; it refers otherwise, too`,
      )
    storages.set(key, storage)
    return storage
  }
  let end = 0
  const next = () => {
    const options = { name, byteOffset: end, globals: pytorchGlobals, persistent }
    const read = readPickle(bytes.subarray(end), options)
    end += read.end
    return read.value
  }
  const first = bytes[0] === 0x80 ? next() : null
  if (first !== legacyMagic || next() !== legacyVersion)
    throw new FormatError(
      `${name}: must be a file that torch.save wrote, a zip archive or of version 1001; it is neither`,
      { byteOffset: 0 },
    )
  const system = next()
  if (!(system instanceof Map && system.get('little_endian') === true)) checkOrder('big', name)
  const value = next()
  const keys = next()
  const listed = Array.isArray(keys) ? keys.map((key) => storages.get(String(key))) : []
  if (new Set(listed).size !== storages.size || listed.length !== storages.size || listed.includes(undefined))
    throw new FormatError(
      `${name}: the storages must be those that tensors refer to; the list of their keys has others`,
      { byteOffset: end },
    )
  return { value, storages: listed as Storage[], end }
}

/** Where the values of storages start that lie behind one another, each after its number of values. */
async function legacyStarts(
  source: ByteSource,
  storages: readonly Storage[],
  start: number,
): Promise<Map<string, number>> {
  const starts = new Map<string, number>()
  let at = start
  for (const { key, type, count } of storages) {
    const end = at + 8 + count * type.bytes
    if (!(end <= source.size))
      throw new FormatError(
        `${source.name}: storage ${show(key)} must lie within the file's ${source.size} bytes; it ends at ${end}`,
        { byteOffset: at },
      )
    const head = await source.read(at, 8)
    const held = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true)
    if (held !== BigInt(count))
      throw new FormatError(
        `${source.name}: storage ${show(key)} must have ${count} values; the file says ${held}`,
        { byteOffset: at },
      )
    starts.set(key, at + 8)
    at = end
  }
  return starts
}

/** How deep dictionaries may lie in others. */
const maxDepth = 32

/**
 * The tensors in a value, by the keys that lead there. What stands at several places of it, is looked into
 * once.
 */
function namedViews(value: unknown, name: string): Map<string, StoredView> {
  const views = new Map<string, StoredView>()
  const seen = new Set<unknown>()
  const visit = (one: unknown, path: readonly string[]) => {
    if (one instanceof StoredView) {
      const tensor = path.length > 0 ? path.join('.') : 'tensor'
      if (views.has(tensor))
        throw new FormatError(`${name}: must hold each tensor once; ${show(tensor)} is there twice`, {
          tensor,
        })
      views.set(tensor, one)
    } else if (one instanceof Map || Array.isArray(one)) {
      if (seen.has(one)) return
      seen.add(one)
      if (path.length >= maxDepth)
        throw new FormatError(
          `${name}: dictionaries must lie at most ${maxDepth} deep in one another; they lie deeper`,
        )
      for (const [key, held] of one.entries())
        if (typeof key === 'string' || typeof key === 'number') visit(held, [...path, String(key)])
    }
  }
  visit(value, [])
  return views
}

function fileOf(
  source: ByteSource,
  views: ReadonlyMap<string, StoredView>,
  starts: ReadonlyMap<string, number>,
): TensorFile {
  const infos = [...views].map(([name, { storage, type, offset, shape }]): TensorInfo => {
    const byteOffset = (starts.get(storage.key) ?? 0) + offset * type.bytes
    return { name, dtype: type.dtype, shape, byteLength: numel(shape) * type.bytes, byteOffset }
  })
  const tensors = new Map(infos.map((info) => [info.name, info]))
  const file = { name: source.name, tensors, unknown: new Map() }
  const gathered = new Map<string, Promise<Uint8Array>>()
  /** Bytes of a tensor; those of a view that is not contiguous are gathered once, and kept up to the last. */
  const readBytes: TensorFile['readBytes'] = async (name, from, length, into) => {
    const info = tensorInfo(file, name)
    const view = views.get(name) as StoredView
    if (view.isContiguous) return source.read(info.byteOffset + from, length, into)
    const ordered = gathered.get(name) ?? gather(source, info, view, [0, info.shape[0] ?? 1])
    if (from + length < info.byteLength) gathered.set(name, ordered)
    else gathered.delete(name)
    return (await ordered).subarray(from, from + length)
  }
  return {
    ...file,
    readBytes,
    async readRows(name, start, end, into) {
      const { from, length } = bytesOfRows(file, tensorInfo(file, name), start, end)
      return readBytes(name, from, length, into)
    },
    async read(name) {
      return readBytes(name, 0, tensorInfo(file, name).byteLength)
    },
    close: () => source.close(),
  }
}

/**
 * Rows of a view whose values lie in another order, or apart: what spans them is read, and the values are put
 * in order by the definition of the kernel that does it. Checkpoints seldom hold such.
 * @throws FormatError if values are used several times, which could be any number, or dimensions are too many
 */
async function gather(
  source: ByteSource,
  { name, byteOffset }: TensorInfo,
  { type: { bytes }, ...view }: StoredView,
  [start, end]: readonly [number, number],
): Promise<Uint8Array> {
  const shape: Shape = [end - start, ...view.shape.slice(1)]
  const count = numel(shape)
  if (count === 0) return new Uint8Array(0)
  const span = shape.reduce((sum, size, axis) => sum + (size - 1) * view.strides[axis], 1)
  if (count > span || shape.length > 5)
    throw new FormatError(
      `${source.name}: ${show(name)} must have up to 5 dimensions and its values once; its strides are ${view.strides.join(', ')}`,
      { tensor: name, byteOffset },
    )
  const x = await source.read(byteOffset + start * view.strides[0] * bytes, span * bytes)
  const y = new Uint8Array(count * bytes)
  const rest = 5 - shape.length
  const sizes = [...Array<number>(rest).fill(1), ...shape]
  const strides = [...Array<number>(rest).fill(0), ...view.strides]
  const contiguous = sizes.map((_, axis) =>
    sizes.slice(axis + 1).reduce((product, size) => product * size, 1),
  )
  stridedCopy(x, y, bytes, ...sizes, 0, ...strides, 0, ...contiguous)
  return y
}
