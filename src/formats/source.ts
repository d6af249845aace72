import { FormatError } from '../core/errors.ts'
import { aString, check, either, instanceOf, isObject, type Kind } from '../core/kinds.ts'

/** Random access to the bytes of one file, wherever it lies. */
export interface ByteSource {
  /** What messages call it. */
  readonly name: string
  /** Bytes in all. */
  readonly size: number
  /**
   * Exactly `length` bytes from `offset` on; perhaps a view of shared memory, so not to be written into. A
   * source that has to copy them copies them to the start of `into`, where there is one.
   * @throws FormatError if they do not lie within the source.
   */
  read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array>
  close(): Promise<void>
}

/** Files under one root, by names such as `config.json` or `onnx/model.onnx`. */
export interface Folder {
  readonly name: string
  /** The names of the files directly in it. */
  list(): Promise<string[]>
  has(file: string): Promise<boolean>
  /** @throws FormatError if there is no such file. */
  open(file: string): Promise<ByteSource>
}

const aFolder: Kind = {
  must: 'be a folder',
  holds: (value) => isObject(value) && 'open' in value && 'list' in value,
}

/** How what lies elsewhere is brought here. */
export interface OpenOptions {
  /** Called with the file that is downloaded, its bytes so far, and all. */
  onDownload?: (file: string, bytes: number, totalBytes: number) => void
  signal?: AbortSignal
}

/** A path or URL, or a folder to read from. */
export const aPlace: Kind = either(
  'be a path, a URL or a folder',
  aString,
  instanceOf(URL, 'be a URL'),
  aFolder,
)

/** Where bytes are written, in order. */
export interface ByteSink {
  /** Resolves when `bytes` may be reused. */
  write(bytes: Uint8Array): Promise<void>
}

/** A file being written; only after `close` is it whole. */
export interface FileSink extends ByteSink {
  /** Writes at a place of its own, apart from the order of `write`; absent where bytes come in order only. */
  writeAt?(offset: number, bytes: Uint8Array): Promise<void>
  close(): Promise<void>
}

/** A file of a process's own, to be written and read at places. */
export interface ScratchFile {
  /** @throws FormatError if the disk has no room */
  write(offset: number, bytes: Uint8Array): Promise<void>
  /** Fills `into` with what lies there. */
  read(offset: number, into: Uint8Array): Promise<void>
  close(): Promise<void>
}

/** A folder being written. */
export interface FolderSink {
  /** @throws FormatError if the name leaves the folder. */
  create(file: string): Promise<FileSink>
  /** The names of the files in it already; absent: nobody asks. */
  list?(): Promise<string[]>
  remove?(file: string): Promise<void>
}

/** A path, or a folder to write into. */
export const aTarget: Kind = either('be a path or a folder to write into', aString, {
  must: 'be a folder to write into',
  holds: (value) => isObject(value) && typeof value.create === 'function',
})

/**
 * Refuses a range that does not lie within `source`; every reader asks before it allocates.
 * @throws FormatError with the offset.
 */
export function checkRange(source: { name: string; size: number }, offset: number, length: number): void {
  const valid = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0
  if (valid && offset + length <= source.size) return
  throw new FormatError(
    `${source.name}: bytes read must lie within its ${source.size}; asked for ${length} bytes at ${offset}`,
    {
      byteOffset: offset,
    },
  )
}

/**
 * Refuses names that could lead out of a folder: absolute ones, `..`, backslashes, drive letters.
 * @throws FormatError
 */
export function checkFileName(folder: string, file: string): void {
  const plain = file.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (plain && !/[\\:\u0000-\u001f]/.test(file)) return
  throw new FormatError(
    `${folder}: a file name must be a plain path inside the folder; received ${JSON.stringify(file)}`,
  )
}

/** The bytes of `bytes`, without a copy. */
export function bytesSource(bytes: Uint8Array, name = 'bytes'): ByteSource {
  const size = bytes.byteLength
  return {
    name,
    size,
    async read(offset, length) {
      checkRange({ name, size }, offset, length)
      return bytes.subarray(offset, offset + length)
    },
    async close() {},
  }
}

/** The bytes of a `Blob`, or of a `File` that the user picked in a browser. */
export function blobSource(blob: Blob, name = 'name' in blob ? String(blob.name) : 'blob'): ByteSource {
  const { size } = blob
  return {
    name,
    size,
    async read(offset, length) {
      checkRange({ name, size }, offset, length)
      return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer())
    },
    async close() {},
  }
}

/** A folder of the files that the user dropped or picked, by their names without folders. */
export function filesFolder(files: readonly File[], name = 'files'): Folder {
  const byName = new Map(files.map((file) => [file.name, file]))
  return {
    name,
    list: async () => [...byName.keys()],
    has: async (file) => byName.has(file),
    async open(file) {
      const found = byName.get(file)
      if (!found) throw missingFile(name, file)
      return blobSource(found, `${name}/${file}`)
    },
  }
}

/** A folder that lives in memory, `files` by name; it can be written and read. */
export function memoryFolder(
  files: Map<string, Uint8Array> = new Map(),
  name = 'memory',
): Folder & Required<FolderSink> {
  check('memoryFolder', 'files', files, instanceOf(Map, 'be a Map of bytes by name'))
  check('memoryFolder', 'name', name, aString)
  return {
    name,
    async list() {
      return [...files.keys()]
    },
    async has(file) {
      return files.has(file)
    },
    async open(file) {
      checkFileName(name, file)
      const bytes = files.get(file)
      if (!bytes) throw missingFile(name, file)
      return bytesSource(bytes, `${name}/${file}`)
    },
    async create(file) {
      checkFileName(name, file)
      const parts: Uint8Array[] = []
      return {
        async write(bytes) {
          parts.push(new Uint8Array(bytes))
        },
        async close() {
          files.set(file, new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer()))
        },
      }
    },
    async remove(file) {
      files.delete(file)
    },
  }
}

/** The error for a file that is not there. */
export function missingFile(folder: string, file: string, cause?: unknown): FormatError {
  return new FormatError(`${folder}: must hold ${file}; there is no such file`, { cause })
}

/**
 * All bytes of a small file.
 * @throws FormatError if it is absent or larger than `maxBytes`.
 */
export async function readBytes(folder: Folder, file: string, maxBytes: number): Promise<Uint8Array> {
  const source = await folder.open(file)
  try {
    if (source.size > maxBytes) {
      throw new FormatError(`${source.name}: must have at most ${maxBytes} bytes; it has ${source.size}`)
    }
    return await source.read(0, source.size)
  } finally {
    await source.close()
  }
}

/**
 * All text of a small file, as strict UTF-8.
 * @throws FormatError if it is absent, larger than `maxBytes`, or not UTF-8.
 */
export async function readText(folder: Folder, file: string, maxBytes: number): Promise<string> {
  return decodeUtf8(await readBytes(folder, file, maxBytes), `${folder.name}/${file}`)
}

/** @throws FormatError if `bytes` are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array, name: string, byteOffset = 0): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new FormatError(`${name}: text must be valid UTF-8; it is not`, { byteOffset, cause })
  }
}

/** Writes `text` as UTF-8 into a new file. */
export async function writeText(folder: FolderSink, file: string, text: string): Promise<void> {
  const sink = await folder.create(file)
  await sink.write(new TextEncoder().encode(text))
  await sink.close()
}
