import { existsSync, realpathSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { FormatError } from '../core/errors.ts'
import type { SaveOptions } from './atomicFolder.node.ts'
import type { CalibrationTexts } from './calibrationTexts.ts'
import { diskFolder, fileSource } from './file.node.ts'
import { httpFolder, httpSource } from './http.ts'
import type { ByteSource, Folder, FolderSink, OpenOptions, ScratchFile } from './source.ts'

/*
 * What only some callers use is loaded when they do: `import 'lowbit'` stays quick.
 */

/** See atomicFolder.node.ts. */
export async function saveFolder<T>(
  target: string,
  write: (folder: FolderSink) => Promise<T>,
  options: SaveOptions = {},
): Promise<T> {
  const atomic = await import('./atomicFolder.node.ts')
  return atomic.saveFolder(target, write, options)
}

/** A folder of this machine by its path, which need not be there. */
export function localFolder(path: string): Folder {
  return diskFolder(path)
}

/** See scratchFile.node.ts. */
export async function scratchFile(folder?: string): Promise<ScratchFile> {
  const scratch = await import('./scratchFile.node.ts')
  return scratch.scratchFile(folder)
}

/** `src/formats` and `dist/formats` lie equally deep in the package, which has models of its own. */
const packageRoot = new URL('../../', import.meta.url)

/**
 * A folder by its path, by its URL, as one of this package (`lowbit/models/…`, as `import` would name it), or
 * by its id on the Hugging Face hub (`org/name`), in that order.
 * @throws FormatError if it is none of them
 */
export async function openFolder(place: string | URL, options: OpenOptions = {}): Promise<Folder> {
  const path = pathOrUrl(place)
  if (isHttp(path)) return httpFolder(path)
  if (!existsSync(path)) {
    const embedded = /^lowbit\/(models\/[\w-]+)$/.exec(path)
    if (embedded) return openFolder(fileURLToPath(new URL(embedded[1], packageRoot)))
    const hub = await import('./hub.node.ts')
    if (hub.isHubId(path)) return hub.hubFolder(path, options)
    throw new FormatError(
      `${path || '""'}: must be a folder, a URL, or a hub id such as org/name; there is no such folder`,
    )
  }
  if (!statSync(path).isDirectory())
    throw new FormatError(
      `${path}: must be a folder in Hugging Face layout, or a .gguf file; it is another file`,
    )
  return diskFolder(path)
}

/** A file by its path or URL, or of a model of the hub (`org/name/model.gguf`). */
export async function openFile(place: string | URL, options: OpenOptions = {}): Promise<ByteSource> {
  const path = pathOrUrl(place)
  if (isHttp(path)) return httpSource(path)
  const [, id, file] = /^([^/\\]+\/[^/\\]+)\/([^\\]+)$/.exec(path) ?? []
  if (id === undefined || existsSync(path)) return fileSource(path)
  const hub = await import('./hub.node.ts')
  return hub.isHubId(id) ? hub.hubFile(id, file, options) : fileSource(path)
}

/** See calibrationTexts.node.ts. */
export async function readCalibrationTexts(
  place: string,
  options: OpenOptions = {},
): Promise<CalibrationTexts> {
  const texts = await import('./calibrationTexts.node.ts')
  return texts.readCalibrationTexts(place, options, openFile)
}

/** Whether both are one file or folder that is there. */
export function isSamePlace(source: string | URL, target: string): boolean {
  const path = pathOrUrl(source)
  if (isHttp(path) || !existsSync(path) || !existsSync(target)) return false
  return realpathSync(path) === realpathSync(target)
}

/** `file:` URLs, such as `new URL('model', import.meta.url)`, are paths. */
function pathOrUrl(place: string | URL): string {
  return place instanceof URL && place.protocol === 'file:' ? fileURLToPath(place) : String(place)
}

function isHttp(place: string): boolean {
  return /^https?:\/\//i.test(place)
}
