import { FormatError } from '../core/errors.ts'
import { type ByteSource, decodeUtf8 } from './source.ts'

/**
 * Twenty times the header of the largest vocabularies in use; a file that asks for more is broken or hostile.
 */
export const maxGgufHeaderBytes = 2 ** 28
/** The format's own limit on the bytes of a key, kept for tensor names too. */
export const maxGgufNameBytes = 2 ** 16 - 1
/** Asked for first: holds the whole header of a model with a small vocabulary. */
const firstChunkBytes = 2 ** 16

/**
 * A cursor over the header of a GGUF file, which it reads in chunks that double, so that the tensors behind
 * it stay unread.
 */
export class GgufReader {
  readonly source: ByteSource
  /** Where the next value lies, from the start of the file. */
  position = 0
  private bytes = new Uint8Array(0)
  private view = new DataView(this.bytes.buffer)
  /** Bytes of the file that `bytes` holds, from its start. */
  private loaded = 0

  constructor(source: ByteSource) {
    this.source = source
  }

  /** Whether `length` more bytes are at hand; if not, `need` gets them. */
  has(length: number): boolean {
    return this.position + length <= this.loaded
  }

  /** @throws FormatError if the file, or what a header may take, ends before `length` more bytes. */
  async need(length: number, what: string): Promise<void> {
    if (this.has(length)) return
    const { size } = this.source
    const end = this.position + length
    if (end > size)
      throw this.error(`${what} must lie within the file's ${size} bytes; it would end at ${end}`)
    if (end > maxGgufHeaderBytes)
      throw this.error(
        `the header must have at most ${maxGgufHeaderBytes} bytes; ${what} would end at ${end}`,
      )
    const wanted = Math.min(size, Math.max(end, 2 * this.loaded, firstChunkBytes), maxGgufHeaderBytes)
    const grown = new Uint8Array(wanted)
    grown.set(this.bytes.subarray(0, this.loaded))
    const rest = grown.subarray(this.loaded)
    const read = await this.source.read(this.loaded, rest.length, rest)
    if (read.buffer !== grown.buffer) rest.set(read)
    this.bytes = grown
    this.view = new DataView(grown.buffer)
    this.loaded = wanted
  }

  /** Bytes already passed, `start` to `end` of the file. */
  passed(start: number, end: number): Uint8Array {
    return this.bytes.subarray(start, end)
  }

  async uint32(what: string): Promise<number> {
    await this.need(4, what)
    this.position += 4
    return this.view.getUint32(this.position - 4, true)
  }

  /** A 64-bit number of things, at most `limit`. */
  async count(what: string, limit: number): Promise<number> {
    await this.need(8, what)
    const count = this.view.getBigUint64(this.position, true)
    if (count > limit) throw this.error(`${what} must be at most ${limit}; it is ${count}`)
    this.position += 8
    return Number(count)
  }

  /** A length, and as many bytes of strict UTF-8. */
  async string(what: string, limit = maxGgufHeaderBytes): Promise<string> {
    const length = await this.count(`the length of ${what}`, limit)
    await this.need(length, what)
    const start = this.position
    this.position += length
    return decodeUtf8(
      this.passed(start, this.position),
      `${this.source.name}: ${what} at byte ${start}`,
      start,
    )
  }

  /** A number read by a method of DataView, of `length` bytes. */
  async number(
    length: number,
    what: string,
    read: (view: DataView, at: number) => number | bigint,
  ): Promise<number> {
    await this.need(length, what)
    this.position += length
    return Number(read(this.view, this.position - length))
  }

  /**
   * Passes `count` strings without decoding them.
   * @returns where each ends, from the first one's length on
   */
  async skipStrings(count: number, what: string): Promise<Uint32Array> {
    const start = this.position
    const ends = new Uint32Array(count)
    for (let i = this.skipLoaded(ends, 0, start); i < count; i = this.skipLoaded(ends, i, start)) {
      if (!this.has(8)) await this.need(8, what)
      const length = this.lengthAt(this.position)
      if (length > maxGgufHeaderBytes)
        throw this.error(
          `${what}: string ${i} must have at most ${maxGgufHeaderBytes} bytes; it has ${length}`,
        )
      await this.need(8 + length, what)
    }
    return ends
  }

  /** Passes strings from number `first` on that are at hand as a whole; gives the number of the next. */
  private skipLoaded(ends: Uint32Array, first: number, start: number): number {
    const { loaded } = this
    let [i, at] = [first, this.position]
    while (i < ends.length && at + 8 <= loaded) {
      const end = at + 8 + this.lengthAt(at)
      if (end > loaded) break
      at = end
      ends[i++] = end - start
    }
    this.position = at
    return i
  }

  private lengthAt(at: number): number {
    return this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * 2 ** 32
  }

  /** The error for what lies at `byteOffset`, by default the next value. */
  error(rule: string, byteOffset = this.position, tensor?: string): FormatError {
    return new FormatError(`${this.source.name}: ${rule} (byte ${byteOffset})`, { byteOffset, tensor })
  }
}
