import { FormatError } from '../core/errors.ts'
import { httpFolder, httpSource } from './http.ts'
import type { ByteSource, Folder, FolderSink } from './source.ts'

/** Development servers answer whoever accepts HTML with their start page instead of 404. */
const headers = { accept: 'application/json, application/octet-stream' }

/**
 * A folder by its URL, which may be relative to the page.
 * @throws FormatError if it is not a URL
 */
export async function openFolder(url: string): Promise<Folder> {
  return httpFolder(absolute(url), { headers })
}

/**
 * A file by its URL, which may be relative to the page.
 * @throws FormatError if it is not a URL, or the server does not have it
 */
export async function openFile(url: string): Promise<ByteSource> {
  return httpSource(absolute(url), { headers })
}

/** @throws FormatError always: a page has no file system; pass a folder to write into instead of a path. */
export async function saveFolder<T>(target: string, _write: (folder: FolderSink) => Promise<T>): Promise<T> {
  throw new FormatError(`save ${target}: a browser has no folders to write; pass a FolderSink such as memoryFolder()`)
}

function absolute(url: string): string {
  // A worker has no document.
  const base = globalThis.document?.baseURI ?? globalThis.location.href
  if (!URL.canParse(url, base)) throw new FormatError(`${url || '""'}: must be a URL; it is none`)
  return new URL(url, base).href
}
