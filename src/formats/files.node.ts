import { existsSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { FormatError } from '../core/errors.ts'
import type { SaveOptions } from './atomicFolder.node.ts'
import { diskFolder, fileSource } from './file.node.ts'
import type { ByteSource, Folder, FolderSink } from './source.ts'

/*
 * What only some callers use is loaded when they do: `import 'lowbit'` stays quick.
 */

/** See atomicFolder.node.ts. */
export async function saveFolder<T>(target: string, write: (folder: FolderSink) => Promise<T>, options: SaveOptions = {}): Promise<T> {
  const atomic = await import('./atomicFolder.node.ts')
  return atomic.saveFolder(target, write, options)
}

/** `src/formats` and `dist/formats` lie equally deep in the package, which has models of its own. */
const packageRoot = new URL('../../', import.meta.url)

/**
 * A folder by its path, by its URL, as one of this package (`lowbit/models/…`, as `import` would name it), or by its id on the Hugging Face
 * hub (`org/name`), in that order.
 * @throws FormatError if it is none of them
 */
export async function openFolder(place: string): Promise<Folder> {
  if (isUrl(place)) return (await import('./http.ts')).httpFolder(place)
  if (!existsSync(place)) {
    const embedded = /^lowbit\/(models\/[\w-]+)$/.exec(place)
    if (embedded) return openFolder(fileURLToPath(new URL(embedded[1], packageRoot)))
    const hub = await import('./hub.node.ts')
    if (hub.isHubId(place)) return hub.hubFolder(place)
    throw new FormatError(`${place || '""'}: must be a folder, a URL, or a hub id such as org/name; there is no such folder`)
  }
  if (!statSync(place).isDirectory())
    throw new FormatError(`${place}: must be a folder in Hugging Face layout, or a .gguf file; it is another file`)
  return diskFolder(place)
}

/** A file by its path or URL. */
export async function openFile(place: string): Promise<ByteSource> {
  return isUrl(place) ? (await import('./http.ts')).httpSource(place) : fileSource(place)
}

function isUrl(place: string): boolean {
  return /^https?:\/\//.test(place)
}
