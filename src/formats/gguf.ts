import { FormatError } from '../core/errors.ts'
import { type Shape, showShape } from '../core/shape.ts'
import { type GgufTypeName, ggufTypeOfId, ggufTypes } from './ggufBlocks.ts'
import { type GgufMetadata, maxGgufKeys, readGgufMetadata } from './ggufMetadata.ts'
import { GgufReader, maxGgufNameBytes } from './ggufReader.ts'
import { show } from './json.ts'
import type { ByteSource } from './source.ts'

/** The largest models have some thousands. */
export const maxGgufTensors = 2 ** 20
/** ggml's own limit. */
export const maxGgufDimensions = 4
/** The largest page of memory in use; 32 is the default. */
export const maxGgufAlignment = 2 ** 16

/** Where a tensor lies and what it is; its bytes stay in the file. */
export interface GgufTensor {
  readonly name: string
  readonly type: GgufTypeName
  /** Outermost dimension first, as PyTorch has it; the file's order is the reverse. */
  readonly shape: Shape
  /** From the start of the file. */
  readonly byteOffset: number
  readonly byteLength: number
}

export interface GgufFile {
  /** What messages call it. */
  readonly name: string
  readonly metadata: GgufMetadata
  readonly tensors: ReadonlyMap<string, GgufTensor>
  /** Tensors of a type that is not known, with its id; only asking for one is an error. */
  readonly unsupported: ReadonlyMap<string, number>
  /**
   * The bytes of a tensor as they stand, rows one after the other, each a row of whole blocks.
   * @throws FormatError if there is none of that name, or its type is not known.
   */
  read(name: string): Promise<Uint8Array>
  /**
   * Rows `start` to `end` (exclusive) of the first dimension; copied to the start of `into`, where there is
   * one.
   * @throws FormatError if there is none of that name, its type is not known, or it has no such rows.
   */
  readRows(name: string, start: number, end: number, into?: Uint8Array): Promise<Uint8Array>
  close(): Promise<void>
}

/**
 * The tensors and metadata of a GGUF file, version 2 or 3, whose layout is
 *
 *     bytes 0..3     "GGUF"
 *     bytes 4..7     version, uint32
 *     bytes 8..15    number of tensors, uint64
 *     bytes 16..23   number of metadata keys, uint64
 *     from 24 on     the keys: name, uint32 type, value; then the tensors: name, uint32 dimensions, uint64 sizes (innermost
 *                    first), uint32 type, uint64 offset. A name is a uint64 length and as many bytes of UTF-8
 *     then           padding to the alignment (`general.alignment`, else 32), and the tensors' bytes at their offsets
 *
 * All numbers are little-endian. Takes over `source`: closes it when it is refused, and with the file.
 * Source: https://github.com/ggml-org/ggml, docs/gguf.md.
 * @throws FormatError if the header is not of that form, or tensors overlap or reach beyond the file.
 */
export async function openGguf(source: ByteSource): Promise<GgufFile> {
  try {
    const reader = new GgufReader(source)
    await readVersion(reader)
    const tensorCount = await reader.count('the number of tensors', maxGgufTensors)
    const keyCount = await reader.count('the number of metadata keys', maxGgufKeys)
    checkRoom(reader, keyCount, 13, 'metadata keys')
    const metadata = await readGgufMetadata(reader, keyCount)
    const alignment = metadata.positiveInteger('general.alignment', 32)
    if (alignment > maxGgufAlignment || !Number.isInteger(Math.log2(alignment))) {
      throw metadata.error('general.alignment', `must be a power of two, at most ${maxGgufAlignment}`)
    }
    checkRoom(reader, tensorCount, 24, 'tensors')
    const { tensors, unsupported } = await readTensors(reader, tensorCount, alignment)
    return ggufFile(source, metadata, tensors, unsupported)
  } catch (error) {
    await source.close()
    throw error
  }
}

async function readVersion(reader: GgufReader): Promise<void> {
  const magic = await reader.uint32('the magic number')
  if (magic !== 0x46554747) throw reader.error('a GGUF file must begin with "GGUF"; it does not', 0)
  const version = await reader.uint32('the version')
  if (version === 2 || version === 3) return
  const read = version % 2 ** 16 === 0 ? `${version >>> 24} in big-endian order` : `${version}`
  throw reader.error(
    `the version must be 2 or 3, little-endian; it is ${read}${version === 1 ? ', so convert the model again' : ''}`,
    4,
  )
}

/** Refuses a count that the rest of the file cannot hold, before anything is made for it. */
function checkRoom(reader: GgufReader, count: number, leastBytes: number, what: string): void {
  const room = Math.floor((reader.source.size - reader.position) / leastBytes)
  if (count > room)
    throw reader.error(
      `the number of ${what} must fit into the file, which has room for ${room}; it is ${count}`,
    )
}

async function readTensors(
  reader: GgufReader,
  count: number,
  alignment: number,
): Promise<{ tensors: Map<string, GgufTensor>; unsupported: Map<string, number> }> {
  const unsupported = new Map<string, number>()
  const entries = new Map<string, { tensor: GgufTensor; entryOffset: number }>()
  for (let i = 0; i < count; i++) {
    const entryOffset = reader.position
    const name = await reader.string(`the name of tensor ${i}`, maxGgufNameBytes)
    const fail = (rule: string) => reader.error(`tensor ${show(name)} ${rule}`, entryOffset, name)
    if (entries.has(name) || unsupported.has(name)) throw fail('must appear once; it appears twice')
    const dimensions = await reader.uint32(`tensor ${show(name)}`)
    if (dimensions > maxGgufDimensions)
      throw fail(`must have at most ${maxGgufDimensions} dimensions; it has ${dimensions}`)
    const shape: number[] = []
    let values = 1
    for (let axis = 0; axis < dimensions; axis++) {
      const size = await reader.count(`tensor ${show(name)}: size`, Number.MAX_SAFE_INTEGER)
      if (size === 0) throw fail('must have sizes of 1 or more; one is 0')
      shape.unshift(size)
      values *= size
    }
    if (!Number.isSafeInteger(values))
      throw fail(`must hold fewer than 2^53 values; its shape is ${showShape(shape)}`)
    const id = await reader.uint32(`tensor ${show(name)}`)
    const byteOffset = await reader.count(`tensor ${show(name)}: offset`, Number.MAX_SAFE_INTEGER)
    if (byteOffset % alignment !== 0)
      throw fail(`must start at a multiple of ${alignment} bytes; its offset is ${byteOffset}`)
    const type = ggufTypeOfId(id)
    if (type === undefined) {
      unsupported.set(name, id)
      continue
    }
    const block = ggufTypes[type]
    if ((shape.at(-1) ?? 1) % block.values !== 0) {
      throw fail(
        `must have rows of whole blocks of ${block.values} values, being ${type}; its shape is ${showShape(shape)}`,
      )
    }
    const byteLength = (values / block.values) * block.bytes
    entries.set(name, { tensor: { name, type, shape, byteOffset, byteLength }, entryOffset })
  }
  const dataStart = Math.ceil(reader.position / alignment) * alignment
  return { tensors: placeTensors(reader, [...entries.values()], dataStart), unsupported }
}

/**
 * Moves offsets to the start of the file. Tensors must lie within it, one after the other; holes are
 * harmless.
 */
function placeTensors(
  reader: GgufReader,
  entries: { tensor: GgufTensor; entryOffset: number }[],
  dataStart: number,
): Map<string, GgufTensor> {
  const { size } = reader.source
  let end = dataStart
  let before = ''
  const inOrder = entries.toSorted((a, b) => a.tensor.byteOffset - b.tensor.byteOffset)
  for (const { tensor, entryOffset } of inOrder) {
    const { name, byteOffset, byteLength } = tensor
    const start = dataStart + byteOffset
    const fail = (rule: string) => reader.error(`tensor ${show(name)} ${rule}`, entryOffset, name)
    if (start < end)
      throw fail(`must not overlap ${show(before)}, which ends at ${end}; it starts at ${start}`)
    end = start + byteLength
    before = name
    if (end > size) throw fail(`must lie within the file's ${size} bytes; it ends at ${end}`)
  }
  return new Map(
    entries.map(({ tensor }) => [tensor.name, { ...tensor, byteOffset: dataStart + tensor.byteOffset }]),
  )
}

function ggufFile(
  source: ByteSource,
  metadata: GgufMetadata,
  tensors: ReadonlyMap<string, GgufTensor>,
  unsupported: ReadonlyMap<string, number>,
): GgufFile {
  const { name } = source
  const find = (tensor: string): GgufTensor => {
    const found = tensors.get(tensor)
    if (found) return found
    const id = unsupported.get(tensor)
    const problem =
      id === undefined
        ? 'must be in the file; it is not'
        : `must be of a type that lowbit knows; it is of type ${id}`
    throw new FormatError(`${name}: tensor ${show(tensor)} ${problem}`, { tensor })
  }
  return {
    name,
    metadata,
    tensors,
    unsupported,
    async read(tensor) {
      const { byteOffset, byteLength } = find(tensor)
      return source.read(byteOffset, byteLength)
    },
    async readRows(tensor, start, end, into) {
      const { byteOffset, byteLength, shape } = find(tensor)
      const rows = shape[0] ?? 1
      if (!(0 <= start && start <= end && end <= rows)) {
        throw new FormatError(
          `${name}: rows of ${show(tensor)} must lie in 0..${rows}; asked for ${start}..${end}`,
          { tensor },
        )
      }
      const rowBytes = byteLength / rows
      return source.read(byteOffset + start * rowBytes, (end - start) * rowBytes, into)
    },
    close: () => source.close(),
  }
}
