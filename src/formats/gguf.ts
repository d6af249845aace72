import { showShape } from '../core/shape.ts'
import { type GgufTypeName, ggufDTypes, ggufTypeOfId, ggufTypes } from './ggufBlocks.ts'
import { type GgufMetadata, maxGgufKeys, readGgufMetadata } from './ggufMetadata.ts'
import { GgufReader, maxGgufNameBytes } from './ggufReader.ts'
import { show } from './json.ts'
import type { ByteSource } from './source.ts'
import { readFrom, type TensorFile, type TensorInfo, type UnknownTensor } from './tensorFile.ts'

/** The largest models have some thousands. */
export const maxTensorInfos = 2 ** 20
/** ggml's own limit. */
export const maxGgufDimensions = 4
/** The largest page of memory in use; 32 is the default. */
export const maxGgufAlignment = 2 ** 16

/**
 * Tensors and metadata. Rows of a tensor are whole blocks, one after the other; its shape is outermost
 * dimension first, as PyTorch has it, though the file's order is the reverse.
 */
export interface GgufFile extends TensorFile {
  readonly metadata: GgufMetadata
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
    const tensorCount = await reader.count('the number of tensors', maxTensorInfos)
    const keyCount = await reader.count('the number of metadata keys', maxGgufKeys)
    checkRoom(reader, keyCount, 13, 'metadata keys')
    const metadata = await readGgufMetadata(reader, keyCount)
    const alignment = metadata.positiveInteger('general.alignment', 32)
    if (alignment > maxGgufAlignment || !Number.isInteger(Math.log2(alignment))) {
      throw metadata.error('general.alignment', `must be a power of two, at most ${maxGgufAlignment}`)
    }
    checkRoom(reader, tensorCount, 24, 'tensors')
    const { tensors, unknown } = await readTensors(reader, tensorCount, alignment)
    const file = { name: source.name, tensors, unknown }
    return { ...file, metadata, ...readFrom(source, file) }
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
): Promise<Pick<GgufFile, 'tensors' | 'unknown'>> {
  const unknown = new Map<string, UnknownTensor>()
  const entries = new Map<string, { tensor: TensorInfo; entryOffset: number }>()
  for (let i = 0; i < count; i++) {
    const entryOffset = reader.position
    const name = await reader.string(`the name of tensor ${i}`, maxGgufNameBytes)
    const fail = (rule: string) => reader.error(`tensor ${show(name)} ${rule}`, entryOffset, name)
    if (entries.has(name) || unknown.has(name)) throw fail('must appear once; it appears twice')
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
      unknown.set(name, { name, type: `type ${id}` })
      continue
    }
    const block = ggufTypes[type]
    if ((shape.at(-1) ?? 1) % block.values !== 0) {
      throw fail(
        `must have rows of whole blocks of ${block.values} values, being ${type}; its shape is ${showShape(shape)}`,
      )
    }
    const byteLength = (values / block.values) * block.bytes
    const dtype = ggufDTypes[type] ?? (type as Uppercase<GgufTypeName>)
    entries.set(name, { tensor: { name, dtype, shape, byteOffset, byteLength }, entryOffset })
  }
  const dataStart = Math.ceil(reader.position / alignment) * alignment
  return { tensors: placeTensors(reader, [...entries.values()], dataStart), unknown }
}

/**
 * Moves offsets to the start of the file. Tensors must lie within it, one after the other; holes are
 * harmless.
 */
function placeTensors(
  reader: GgufReader,
  entries: { tensor: TensorInfo; entryOffset: number }[],
  dataStart: number,
): Map<string, TensorInfo> {
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
