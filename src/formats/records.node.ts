import { gunzipSync } from 'node:zlib'
import { FormatError } from '../core/errors.ts'
import { JsonObject, parseJsonText } from './json.ts'
import { readParquet } from './parquet.node.ts'
import { type ByteSource, decodeUtf8 } from './source.ts'

/** Above this JavaScript has no strings. */
const maxTextBytes = 500_000_000

/**
 * The items of a data set: of a parquet file, of a JSON list, or of a file with one JSON object a line; JSON
 * also in gzip. Messages call each by its line, row or number.
 * @throws FormatError if the file is empty, or in none of these formats
 */
export async function readRecords(source: ByteSource): Promise<JsonObject[]> {
  const { name } = source
  const magic = Buffer.from(await source.read(0, Math.min(4, source.size))).toString('latin1')
  if (magic === 'PAR1')
    return someOf(
      name,
      (await readParquet(source)).map((row, i) => new JsonObject(row, `${name}: row ${i + 1}`)),
    )
  const text = await readText(source, magic.startsWith('\x1f\x8b'))
  if (!text.trimStart().startsWith('[')) return someOf(name, lines(text, name))
  const items = parseJsonText(text, name) as unknown[]
  return someOf(
    name,
    items.map((item, i) => new JsonObject(item, `${name}: item ${i + 1}`)),
  )
}

function lines(text: string, name: string): JsonObject[] {
  return text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return []
    const where = `${name}: line ${i + 1}`
    return [new JsonObject(parseJsonText(line, where), where)]
  })
}

function someOf(name: string, items: JsonObject[]): JsonObject[] {
  if (items.length > 0) return items
  throw new FormatError(`${name}: must hold items, one JSON object a line; it is empty`)
}

async function readText(source: ByteSource, gzip: boolean): Promise<string> {
  const { name, size } = source
  if (size > maxTextBytes) throw tooLarge(name, `it has ${size}`)
  const bytes = await source.read(0, size)
  return decodeUtf8(gzip ? unpack(bytes, name) : bytes, name)
}

function unpack(bytes: Uint8Array, name: string): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: maxTextBytes })
  } catch (cause) {
    if (cause instanceof RangeError) throw tooLarge(name, 'unpacked it has more')
    throw new FormatError(`${name}: must be gzip that can be unpacked; ${(cause as Error).message}`, {
      cause,
    })
  }
}

function tooLarge(name: string, received: string): FormatError {
  return new FormatError(`${name}: must have at most ${maxTextBytes} bytes; ${received}`)
}
