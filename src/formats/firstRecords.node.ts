import { Readable, type Transform } from 'node:stream'
// As a whole: zstd is not there before Node 22.15.
import * as zlib from 'node:zlib'
import { FormatError } from '../core/errors.ts'
import { JsonObject, parseJsonText } from './json.ts'
import { readRecords } from './records.node.ts'
import type { ByteSource } from './source.ts'

/** Bytes that are read at once. */
const pieceBytes = 1 << 20

/** A line with more is no record. */
const maxLineChars = 50_000_000

/**
 * The first `count` items of a data set, as `readRecords` has all of them: of JSON lines, packed by gzip or
 * zstd too, no more is read and unpacked than they take.
 * @throws FormatError if the file is empty, or in none of its formats
 */
export async function firstRecords(source: ByteSource, count: number): Promise<JsonObject[]> {
  const magic = Buffer.from(await source.read(0, Math.min(4, source.size))).toString('latin1')
  const isPacked = magic.startsWith('\x1f\x8b') || magic === '\x28\xb5\x2f\xfd'
  // A parquet file, and a list, are read as a whole.
  if (!isPacked && !magic.startsWith('{')) return (await readRecords(source)).slice(0, count)
  const records: JsonObject[] = []
  let line = 0
  for await (const text of lines(source, isPacked ? unpacker(source.name, magic) : null)) {
    line++
    if (text.trim() === '') continue
    const where = `${source.name}: line ${line}`
    records.push(new JsonObject(parseJsonText(text, where), where))
    if (records.length === count) break
  }
  if (records.length > 0) return records
  throw new FormatError(`${source.name}: must hold items, one JSON object a line; it is empty`)
}

function unpacker(name: string, magic: string): Transform {
  if (magic.startsWith('\x1f\x8b')) return zlib.createGunzip()
  if (typeof zlib.createZstdDecompress === 'function') return zlib.createZstdDecompress()
  throw new FormatError(
    `${name}: is compressed by zstd, which Node ${process.version} cannot read; unpack it, or take Node 22.15 or newer`,
  )
}

async function* lines(source: ByteSource, unpack: Transform | null): AsyncGenerator<string> {
  const { name } = source
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let rest = ''
  try {
    for await (const bytes of unpack ? unpacked(source, unpack) : pieces(source)) {
      const found = (rest + decoder.decode(bytes, { stream: true })).split('\n')
      rest = found.pop() as string
      if (rest.length > maxLineChars) throw new Error(`a line has more than ${maxLineChars} characters`)
      yield* found
    }
    rest += decoder.decode()
  } catch (cause) {
    const reason = cause instanceof TypeError ? 'its text is not UTF-8' : (cause as Error).message
    throw new FormatError(`${name}: must be JSON lines that can be read; ${reason}`, { cause })
  }
  if (rest !== '') yield rest
}

async function* unpacked(source: ByteSource, unpack: Transform): AsyncGenerator<Uint8Array> {
  const packed = Readable.from(pieces(source))
  packed.on('error', (error) => unpack.destroy(error))
  try {
    yield* packed.pipe(unpack)
  } finally {
    packed.destroy()
  }
}

async function* pieces(source: ByteSource): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < source.size; at += pieceBytes)
    yield await source.read(at, Math.min(pieceBytes, source.size - at))
}
