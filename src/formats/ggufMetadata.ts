import { FormatError } from '../core/errors.ts'
import { type GgufReader, maxGgufNameBytes } from './ggufReader.ts'
import { type ByteStrings, byteStrings, decodeStrings, stringBytes } from './ggufStrings.ts'
import { type GgufNumberType, type GgufValueType, ggufValueTypes } from './ggufValueTypes.ts'
import { show } from './json.ts'

/** Files in use have some forty keys. */
export const maxGgufKeys = 2 ** 16
/** The largest vocabularies have 300,000 tokens and twice as many merges. */
export const maxGgufStrings = 2 ** 22

/** A list that stays in its bytes until it is asked for. */
class GgufArray {
  readonly type: GgufValueType
  readonly count: number
  readonly bytes: Uint8Array
  /** Of strings, where each ends. */
  readonly ends: Uint32Array

  constructor(type: GgufValueType, count: number, bytes: Uint8Array, ends?: Uint32Array) {
    this.type = type
    this.count = count
    this.bytes = bytes
    this.ends = ends ?? new Uint32Array(0)
  }

  toJSON(): string {
    return `${this.count} × ${this.type.name}`
  }
}

type Value = number | boolean | string | GgufArray

/** What a GGUF file says about itself, key by key; errors name the key, what it must be and where it lies. */
export class GgufMetadata {
  /** What messages call the file. */
  readonly name: string
  private readonly values: ReadonlyMap<string, { value: Value; byteOffset: number }>

  constructor(name: string, values: ReadonlyMap<string, { value: Value; byteOffset: number }>) {
    this.name = name
    this.values = values
  }

  keys(): string[] {
    return [...this.values.keys()]
  }

  has(key: string): boolean {
    return this.values.has(key)
  }

  /** A value as it stands, lists as what prints their length; undefined where there is none. */
  get(key: string): unknown {
    return this.values.get(key)?.value
  }

  string(key: string, fallback?: string): string {
    return this.expect(key, fallback, 'a string', (value) => typeof value === 'string')
  }

  boolean(key: string, fallback?: boolean): boolean {
    return this.expect(key, fallback, 'true or false', (value) => typeof value === 'boolean')
  }

  /** A number above 0, as every float of a model's description is. */
  positive(key: string, fallback?: number): number {
    return this.expect(
      key,
      fallback,
      'a finite number above 0',
      (value) => Number.isFinite(value) && Number(value) > 0,
    )
  }

  positiveInteger(key: string, fallback?: number): number {
    return this.expect(
      key,
      fallback,
      'a positive integer',
      (value) => Number.isSafeInteger(value) && Number(value) > 0,
    )
  }

  /** An integer from 0 on. */
  count(key: string, fallback?: number): number {
    return this.expect(
      key,
      fallback,
      'an integer, 0 or more',
      (value) => Number.isSafeInteger(value) && Number(value) >= 0,
    )
  }

  /** A list of strings. Bytes that are not UTF-8 become U+FFFD: a token may end within a character. */
  strings(key: string): string[] {
    return decodeStrings(this.list(key, 'a list of strings', ({ type }) => type.name === 'string'))
  }

  /**
   * The same as UTF-8.
   * @param instead is what stands for an empty one; default: nothing
   */
  byteStrings(key: string, instead: (index: number) => string = () => ''): ByteStrings {
    const list = this.list(key, 'a list of strings', ({ type }) => type.name === 'string')
    return byteStrings(list, instead)
  }

  /** One string of a list. */
  stringAt(key: string, index: number): string {
    const list = this.list(
      key,
      'a list of strings',
      ({ type, count }) => type.name === 'string' && index < count,
    )
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(stringBytes(list, index))
  }

  /** Where in a list of strings one of `wanted` stands; the others are not decoded. */
  indicesOf(key: string, wanted: ReadonlySet<string>): number[] {
    const list = this.list(key, 'a list of strings', ({ type }) => type.name === 'string')
    const { bytes, ends } = list
    const [encoder, decoder] = [new TextEncoder(), new TextDecoder()]
    const begins = new Uint8Array(256)
    for (const text of wanted) begins[encoder.encode(text)[0]] = 1
    const indices: number[] = []
    let start = 0
    for (let i = 0; i < ends.length; i++) {
      const first = start + 8
      start = ends[i]
      if (first < start && begins[bytes[first]] === 1 && wanted.has(decoder.decode(stringBytes(list, i))))
        indices.push(i)
    }
    return indices
  }

  /** How many strings or numbers a list has. */
  listLength(key: string): number {
    return this.list(key, 'a list', () => true).count
  }

  numbers(key: string): number[] {
    const list = this.list(key, 'a list of numbers', ({ type }) => type.number !== undefined)
    const { bytes, read } = list.type.number as GgufNumberType
    const view = new DataView(list.bytes.buffer, list.bytes.byteOffset, list.bytes.byteLength)
    const numbers = new Array<number>(list.count)
    for (let i = 0; i < numbers.length; i++) numbers[i] = Number(read(view, i * bytes))
    return numbers
  }

  /** The error for a value that breaks a rule of its own. */
  error(key: string, rule: string): FormatError {
    const found = this.values.get(key)
    if (!found) return new FormatError(`${this.name}: metadata ${show(key)} ${rule}; it is missing`)
    const { value, byteOffset } = found
    // JSON has no infinity.
    const received = typeof value === 'number' ? String(value) : show(value)
    return new FormatError(
      `${this.name}: metadata ${show(key)} ${rule}; received ${received} (byte ${byteOffset})`,
      { byteOffset },
    )
  }

  private list(key: string, rule: string, holds: (value: GgufArray) => boolean): GgufArray {
    return this.expect<GgufArray>(key, undefined, rule, (value) => value instanceof GgufArray && holds(value))
  }

  private expect<T extends Value>(
    key: string,
    fallback: T | undefined,
    rule: string,
    holds: (value: Value) => boolean,
  ): T {
    const found = this.values.get(key)
    if (!found && fallback !== undefined) return fallback
    if (!found || !holds(found.value)) throw this.error(key, `must be ${rule}`)
    return found.value as T
  }
}

/** Reads `count` keys with their values. */
export async function readGgufMetadata(reader: GgufReader, count: number): Promise<GgufMetadata> {
  const values = new Map<string, { value: () => Value; byteOffset: number }>()
  for (let i = 0; i < count; i++) {
    const keyOffset = reader.position
    const key = await reader.string(`metadata key ${i}`, maxGgufNameBytes)
    if (values.has(key))
      throw reader.error(`a metadata key must appear once; ${show(key)} appears twice`, keyOffset)
    const what = `metadata ${show(key)}`
    const type = await readType(reader, what)
    const byteOffset = reader.position
    values.set(key, {
      value: type.name === 'array' ? await readArray(reader, what) : await readValue(reader, type, what),
      byteOffset,
    })
  }
  return new GgufMetadata(
    reader.source.name,
    new Map([...values].map(([key, { value, byteOffset }]) => [key, { value: value(), byteOffset }])),
  )
}

async function readType(reader: GgufReader, what: string): Promise<GgufValueType> {
  const id = await reader.uint32(`${what}: type`)
  const type = ggufValueTypes.at(id)
  if (type) return type
  throw reader.error(
    `${what} must be of a type from 0 to ${ggufValueTypes.length - 1}; it is of type ${id}`,
    reader.position - 4,
  )
}

async function readValue(
  reader: GgufReader,
  { name, number }: GgufValueType,
  what: string,
): Promise<() => Value> {
  const value = number ? await reader.number(number.bytes, what, number.read) : await reader.string(what)
  if (name !== 'bool') return () => value
  if (value !== 0 && value !== 1)
    throw reader.error(`${what} must be a bool, 0 or 1; it is ${value}`, reader.position - 1)
  return () => value === 1
}

/**
 * Checks a list's extent; the bytes are taken when the header is whole, since the reader's memory moves as it
 * grows.
 */
async function readArray(reader: GgufReader, what: string): Promise<() => Value> {
  const type = await readType(reader, `${what}: element`)
  // ggml refuses them too, so no file has any.
  if (type.name === 'array')
    throw reader.error(`${what} must be a flat list; it holds lists`, reader.position - 4)
  const elementBytes = type.number?.bytes ?? 8
  const room = Math.floor(Math.max(0, reader.source.size - reader.position - 8) / elementBytes)
  const limit = type.number ? room : Math.min(room, maxGgufStrings)
  const count = await reader.count(`${what}: the number of elements`, limit)
  const start = reader.position
  let ends: Uint32Array | undefined
  if (type.number) {
    await reader.need(count * elementBytes, what)
    reader.position += count * elementBytes
  } else ends = await reader.skipStrings(count, what)
  const end = reader.position
  return () => new GgufArray(type, count, reader.passed(start, end), ends)
}
