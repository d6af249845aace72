import { existsSync, statSync } from 'node:fs'
import { FormatError } from '../core/errors.ts'
import { diskFolder, fileSource } from './file.node.ts'
import { httpFolder, httpSource } from './http.ts'
import { hubFolder, isHubId } from './hub.node.ts'
import type { ByteSource, Folder } from './source.ts'

export { saveFolder } from './atomicFolder.node.ts'

/**
 * A folder by its path, by its URL, or by its id on the Hugging Face hub (`org/name`), in that order.
 * @throws FormatError if it is none of them
 */
export async function openFolder(place: string): Promise<Folder> {
  if (/^https?:\/\//.test(place)) return httpFolder(place)
  if (!existsSync(place)) {
    if (isHubId(place)) return hubFolder(place)
    throw new FormatError(`${place || '""'}: must be a folder, a URL, or a hub id such as org/name; there is no such folder`)
  }
  if (!statSync(place).isDirectory())
    throw new FormatError(`${place}: must be a folder in Hugging Face layout, or a .gguf file; it is another file`)
  return diskFolder(place)
}

/** A file by its path or URL. */
export function openFile(place: string): Promise<ByteSource> {
  return /^https?:\/\//.test(place) ? httpSource(place) : fileSource(place)
}
