import { FormatError } from '../core/errors.ts'
import { httpFolder, httpSource } from './http.ts'
import type { ByteSource, Folder, FolderSink, OpenOptions } from './source.ts'

/**
 * A folder by its URL, which may be relative to the page.
 * @throws FormatError if it is not a URL
 */
export async function openFolder(url: string | URL, _options?: OpenOptions): Promise<Folder> {
  return httpFolder(url)
}

/**
 * A file by its URL, which may be relative to the page.
 * @throws FormatError if it is not a URL, or the server does not have it
 */
export async function openFile(url: string | URL, _options?: OpenOptions): Promise<ByteSource> {
  return httpSource(url)
}

/** @throws FormatError always: a page has no file system; pass a folder to write into instead of a path. */
export async function saveFolder<T>(target: string, _write: (folder: FolderSink) => Promise<T>): Promise<T> {
  throw new FormatError(
    `save ${target}: a browser has no folders to write; pass a FolderSink such as memoryFolder()`,
  )
}

/** Whether both are one file or folder: a page writes nowhere that it reads. */
export function isSamePlace(_source: string | URL, _target: string): boolean {
  return false
}
