import { FormatError } from '../core/errors.ts'
import { httpFolder } from './http.ts'
import type { Folder, FolderSink } from './source.ts'

/** A folder by its URL. */
export async function openFolder(url: string): Promise<Folder> {
  return httpFolder(url)
}

/** @throws FormatError always: a page has no file system; pass a folder to write into instead of a path. */
export async function saveFolder<T>(target: string, _write: (folder: FolderSink) => Promise<T>): Promise<T> {
  throw new FormatError(`save ${target}: a browser has no folders to write; pass a FolderSink such as memoryFolder()`)
}
