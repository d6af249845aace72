import { FormatError } from '../core/errors.ts'
import type { CalibrationTexts } from './calibrationTexts.ts'
import { httpFolder, httpSource } from './http.ts'
import {
  type ByteSource,
  decodeUtf8,
  type Folder,
  type FolderSink,
  type OpenOptions,
  type ScratchFile,
} from './source.ts'

/**
 * A folder by its URL, which may be relative to the page.
 * @throws FormatError if it is not a URL
 */
export async function openFolder(url: string | URL, _options?: OpenOptions): Promise<Folder> {
  return httpFolder(url)
}

/** @throws FormatError always: a page has no folders */
export function localFolder(path: string): Folder {
  throw new FormatError(`${path}: must be a folder of this machine; a browser has none`)
}

/** @throws FormatError always: a page has no files */
export async function scratchFile(_folder?: string): Promise<ScratchFile> {
  throw new FormatError('scratch file: must be kept in a folder; a browser has none')
}

/**
 * A file by its URL, which may be relative to the page.
 * @throws FormatError if it is not a URL, or the server does not have it
 */
export async function openFile(url: string | URL, _options?: OpenOptions): Promise<ByteSource> {
  return httpSource(url)
}

/**
 * A text by its URL. Data sets are packed in ways that a page does not read.
 * @throws FormatError if the server does not have it, or it is no text
 */
export async function readCalibrationTexts(url: string, _options?: OpenOptions): Promise<CalibrationTexts> {
  const source = await httpSource(url)
  const text = decodeUtf8(await source.read(0, source.size), url)
  if (text.trim() !== '') return { name: url, texts: [text] }
  throw new FormatError(`${url}: the text must have words; it is empty`)
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
