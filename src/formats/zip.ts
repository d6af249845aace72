import { FormatError } from '../core/errors.ts'
import { show } from './json.ts'
import { type ByteSource, decodeUtf8 } from './source.ts'

/** A file in an archive, stored as it is: where its bytes lie. */
export interface ZipEntry {
  readonly name: string
  readonly byteOffset: number
  readonly byteLength: number
}

/** A checkpoint has an entry for each tensor; more of these would be no model. */
export const maxZipDirectoryBytes = 100_000_000

/** Headers of entries that are asked for at a time. */
const headersAtOnce = 32

/**
 * The files of a zip archive whose files are stored uncompressed, as PyTorch writes it,
 *
 *     for each file   a header of 30 bytes, its name, an extra field, its bytes
 *     then            the directory: for each file a record of 46 bytes, its name, extra fields (of zip64 the sizes
 *                     and the offset that are ffffffff in the record), a comment
 *     at the end      the end record of 22 bytes, before it in zip64 another with 64-bit numbers, and where that lies
 *
 * Source: PKWARE's APPNOTE.TXT 6.3.10.
 * @throws FormatError if it is no archive, an entry is compressed or encrypted, or does not lie within the
 * file
 */
export async function readZip(source: ByteSource): Promise<Map<string, ZipEntry>> {
  const { offset, length, count } = await findDirectory(source)
  const directory = await source.read(offset, length)
  const view = viewOf(directory)
  const records: { name: string; header: number; byteLength: number }[] = []
  let at = 0
  for (let i = 0; i < count; i++) {
    if (at + 46 > length || view.getUint32(at, true) !== 0x02014b50)
      throw zipError(source, `must list ${count} files; record ${i} is none`, offset + at)
    const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)]
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((place) =>
      view.getUint16(at + place, true),
    )
    const end = at + 46 + nameLength + extraLength + commentLength
    if (end > length) throw zipError(source, `must list ${count} files; record ${i} is cut off`, offset + at)
    const name = decodeUtf8(directory.subarray(at + 46, at + 46 + nameLength), source.name, offset + at + 46)
    const wide = zip64Field(view, at + 46 + nameLength, extraLength)
    // In this order, each only where the record has no room for it.
    const [byteLength, stored, header] = [24, 20, 42].map((place) => {
      const value = view.getUint32(at + place, true)
      return value === 0xffffffff ? Number(wide.shift() ?? value) : value
    })
    if ((flags & 1) !== 0 || method !== 0 || byteLength !== stored)
      throw zipError(
        source,
        `must hold its files as they are; ${show(name)} is compressed or encrypted`,
        offset + at,
      )
    records.push({ name, header, byteLength })
    at = end
  }
  const entries = new Map<string, ZipEntry>()
  for (let i = 0; i < records.length; i += headersAtOnce) {
    const some = records.slice(i, i + headersAtOnce)
    for (const entry of await Promise.all(some.map((record) => readHeader(source, record)))) {
      if (entries.has(entry.name))
        throw zipError(
          source,
          `must hold each file once; ${show(entry.name)} is there twice`,
          entry.byteOffset,
        )
      entries.set(entry.name, entry)
    }
  }
  return entries
}

/** Where the bytes of a file start, which only the header before them says. */
async function readHeader(
  source: ByteSource,
  { name, header, byteLength }: { name: string; header: number; byteLength: number },
): Promise<ZipEntry> {
  if (!(header + 30 <= source.size))
    throw zipError(
      source,
      `must hold ${show(name)} within its ${source.size} bytes; it starts at ${header}`,
      0,
    )
  const view = viewOf(await source.read(header, 30))
  if (view.getUint32(0, true) !== 0x04034b50)
    throw zipError(source, `must have a header for ${show(name)}; there is none`, header)
  const byteOffset = header + 30 + view.getUint16(26, true) + view.getUint16(28, true)
  if (!(byteOffset + byteLength <= source.size))
    throw zipError(
      source,
      `must hold ${show(name)} within its ${source.size} bytes; it would end at ${byteOffset + byteLength}`,
      header,
    )
  return { name, byteOffset, byteLength }
}

/** The 64-bit numbers of a record's extra field. */
function zip64Field(view: DataView, start: number, length: number): bigint[] {
  for (let at = start; at + 4 <= start + length; ) {
    const [id, size] = [view.getUint16(at, true), view.getUint16(at + 2, true)]
    if (id === 1 && at + 4 + size <= start + length)
      return Array.from({ length: size >> 3 }, (_, i) => view.getBigUint64(at + 4 + 8 * i, true))
    at += 4 + size
  }
  return []
}

async function findDirectory(source: ByteSource): Promise<{ offset: number; length: number; count: number }> {
  const { size } = source
  // A comment of up to 64 kB may follow the end record; PyTorch writes none.
  const tail = Math.min(size, 22 + 20 + 65535)
  const bytes = await source.read(size - tail, tail)
  const view = viewOf(bytes)
  let end = tail - 22
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--
  if (end < 0) throw zipError(source, 'must be a zip archive to its end; it has no end record', size)
  let [count, length, offset] = [
    view.getUint16(end + 10, true),
    view.getUint32(end + 12, true),
    view.getUint32(end + 16, true),
  ]
  if (end >= 20 && view.getUint32(end - 20, true) === 0x07064b50) {
    const place = Number(view.getBigUint64(end - 12, true))
    if (!(place + 56 <= size))
      throw zipError(source, `must hold its end record; it would lie at ${place}`, size - tail + end)
    const wide = viewOf(await source.read(place, 56))
    if (wide.getUint32(0, true) !== 0x06064b50)
      throw zipError(source, 'must hold its end record of 64 bits; there is another', place)
    ;[count, length, offset] = [32, 40, 48].map((at) => Number(wide.getBigUint64(at, true)))
  }
  if (length > maxZipDirectoryBytes || !(offset + length <= size) || count > length / 46)
    throw zipError(
      source,
      `must hold its directory within ${size} bytes, at most ${maxZipDirectoryBytes} long; it has ${count} files in ${length} bytes at ${offset}`,
      size - tail + end,
    )
  return { offset, length, count }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function zipError(source: ByteSource, problem: string, byteOffset: number): FormatError {
  return new FormatError(`${source.name}: the archive ${problem}`, { byteOffset })
}
