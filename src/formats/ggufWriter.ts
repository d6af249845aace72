import { FormatError } from '../core/errors.ts'
import { numel, showShape } from '../core/shape.ts'
import { maxGgufDimensions } from './gguf.ts'
import { type GgufTypeName, ggufDTypes, ggufTypes } from './ggufBlocks.ts'
import { maxGgufNameBytes } from './ggufReader.ts'
import { type GgufNumberName, ggufValueTypes } from './ggufValueTypes.ts'
import { show } from './json.ts'
import type { PlacedTensors } from './modelWriter.ts'
import type { FolderSink } from './source.ts'
import type { StoredDType, TensorHead } from './tensorFile.ts'

type Scalar = number | bigint | boolean | string

/** A value of a GGUF file's metadata, or a list of values of one type. */
export type GgufValue =
  | { readonly type: GgufNumberName | 'string'; readonly value: Scalar }
  | { readonly type: GgufNumberName | 'string'; readonly values: readonly Scalar[] }

/** What a GGUF file says about itself, in order; `general.alignment` decides where tensors begin. */
export type GgufEntries = ReadonlyMap<string, GgufValue>

/** The alignment of a file that names none. */
const defaultAlignment = 32

/** ggml's type of a stored dtype; undefined if it has none. */
export function ggufTypeOf(dtype: StoredDType): GgufTypeName | undefined {
  if (Object.hasOwn(ggufTypes, dtype)) return dtype as GgufTypeName
  const found = Object.entries(ggufDTypes).find(([, float]) => float === dtype)
  return found?.[0] as GgufTypeName | undefined
}

/**
 * Lays out a GGUF file of version 3 in a folder, as drawn at gguf.ts: the header is written at once, the
 * tensors' bytes are put in any order. The same bytes as Python's gguf package writes.
 * Source: https://github.com/ggml-org/ggml, docs/gguf.md.
 * @param tensors in the order of their bytes, shapes outermost dimension first
 * @throws FormatError if two tensors share a name, or one cannot be in such a file
 */
export async function placeGguf(
  folder: FolderSink,
  file: string,
  metadata: GgufEntries,
  tensors: readonly TensorHead[],
): Promise<PlacedTensors> {
  const alignment = Number(single(metadata.get('general.alignment')) ?? defaultAlignment)
  const places = placesOf(tensors, alignment)
  const header = encodeHeader(metadata, [...places.values()])
  const dataStart = aligned(header.byteLength, alignment)
  const sink = await folder.create(file)
  await sink.write(header)
  // Bytes between tensors are 0: those before the first, and behind each up to where the next may begin.
  const gaps = [{ at: header.byteLength, bytes: dataStart - header.byteLength }]
  let total = dataStart
  for (const { offset, byteLength } of places.values()) {
    total = dataStart + aligned(offset + byteLength, alignment)
    gaps.push({ at: dataStart + offset + byteLength, bytes: total - dataStart - offset - byteLength })
  }
  const held = new Map<number, Uint8Array>()
  const write = async (at: number, bytes: Uint8Array) => {
    if (sink.writeAt) await sink.writeAt(at, bytes)
    else held.set(at, bytes.slice())
  }
  for (const { at, bytes } of gaps) if (bytes > 0) await write(at, new Uint8Array(bytes))
  return {
    async put(name, start, bytes) {
      const place = places.get(name)
      const end = start + bytes.byteLength
      if (!place || end > place.byteLength) throw misfit(name, place, `bytes ${start} to ${end}`)
      place.lacking -= bytes.byteLength
      await write(dataStart + place.offset + start, bytes)
    },
    async close() {
      for (const [name, place] of places)
        if (place.lacking !== 0) throw misfit(name, place, String(place.byteLength - place.lacking))
      for (const [, bytes] of [...held].sort(([a], [b]) => a - b)) await sink.write(bytes)
      await sink.close()
      return total
    },
  }
}

/** Where a tensor's bytes stand behind the header. */
interface Place {
  readonly tensor: TensorHead
  readonly type: GgufTypeName
  readonly offset: number
  readonly byteLength: number
  /** Bytes that were not put yet. */
  lacking: number
}

function placesOf(tensors: readonly TensorHead[], alignment: number): Map<string, Place> {
  const places = new Map<string, Place>()
  let offset = 0
  for (const tensor of tensors) {
    const { name, dtype, shape } = tensor
    const fail = (rule: string) => new FormatError(`gguf: tensor ${show(name)} ${rule}`, { tensor: name })
    if (places.has(name)) throw fail('must have a name of its own; there are two of it')
    const type = ggufTypeOf(dtype)
    if (!type) throw fail(`must be of one of ggml's types; it is ${dtype}`)
    const block = ggufTypes[type]
    if (shape.length > maxGgufDimensions)
      throw fail(`must have at most ${maxGgufDimensions} dimensions; its shape is ${showShape(shape)}`)
    if ((shape.at(-1) ?? 1) % block.values !== 0)
      throw fail(
        `must have rows of whole blocks of ${block.values} values, being ${type}; its shape is ${showShape(shape)}`,
      )
    const byteLength = (numel(shape) / block.values) * block.bytes
    places.set(name, { tensor, type, offset, byteLength, lacking: byteLength })
    offset = aligned(offset + byteLength, alignment)
  }
  return places
}

function misfit(name: string, place: Place | undefined, received: string): FormatError {
  const must = place
    ? `have ${place.byteLength} bytes, as ${place.type} ${showShape(place.tensor.shape)}`
    : 'be one of those placed'
  return new FormatError(`gguf: tensor ${show(name)} must ${must}; received ${received}`, { tensor: name })
}

function aligned(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment
}

function single(value: GgufValue | undefined): Scalar | undefined {
  return value && 'value' in value ? value.value : undefined
}

function encodeHeader(metadata: GgufEntries, places: readonly Place[]): Uint8Array {
  const bytes = new GrowingBytes()
  bytes.raw(new TextEncoder().encode('GGUF'))
  bytes.number('uint32', 3)
  bytes.number('uint64', places.length)
  bytes.number('uint64', metadata.size)
  for (const [key, value] of metadata) {
    bytes.name(key)
    if ('values' in value) {
      bytes.type('array')
      bytes.type(value.type)
      bytes.number('uint64', value.values.length)
      for (const each of value.values) bytes.value(value.type, each)
    } else {
      bytes.type(value.type)
      bytes.value(value.type, value.value)
    }
  }
  for (const { tensor, type, offset } of places) {
    bytes.name(tensor.name)
    bytes.number('uint32', tensor.shape.length)
    for (const size of tensor.shape.toReversed()) bytes.number('uint64', size)
    bytes.number('uint32', ggufTypes[type].id)
    bytes.number('uint64', offset)
  }
  return bytes.written()
}

/** Little-endian values one after the other. */
class GrowingBytes {
  private bytes = new Uint8Array(2 ** 16)
  private view = new DataView(this.bytes.buffer)
  private length = 0

  written(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }

  raw(bytes: Uint8Array): void {
    const at = this.room(bytes.byteLength)
    this.bytes.set(bytes, at)
  }

  number(type: GgufNumberName, value: Scalar): void {
    const number = ggufValueTypes.find(({ name }) => name === type)?.number
    if (!number) throw new FormatError(`gguf: metadata must be of a type of numbers; received ${type}`)
    const at = this.room(number.bytes)
    number.write(this.view, at, typeof value === 'bigint' ? value : Number(value))
  }

  string(text: string): void {
    const bytes = new TextEncoder().encode(text)
    this.number('uint64', bytes.byteLength)
    this.raw(bytes)
  }

  name(text: string): void {
    if (new TextEncoder().encode(text).byteLength > maxGgufNameBytes)
      throw new FormatError(
        `gguf: a name must have at most ${maxGgufNameBytes} bytes; received ${show(text)}`,
      )
    this.string(text)
  }

  type(name: string): void {
    this.number(
      'uint32',
      ggufValueTypes.findIndex((type) => type.name === name),
    )
  }

  value(type: GgufNumberName | 'string', value: Scalar): void {
    if (type === 'string') this.string(String(value))
    else this.number(type, value)
  }

  /** Where the next `bytes` lie. */
  private room(bytes: number): number {
    const at = this.length
    this.length += bytes
    if (this.length > this.bytes.byteLength) {
      const grown = new Uint8Array(2 * this.length)
      grown.set(this.bytes)
      this.bytes = grown
      this.view = new DataView(grown.buffer)
    }
    return at
  }
}
