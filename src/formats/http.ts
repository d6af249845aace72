import { FormatError } from '../core/errors.ts'
import { aString, check, either, instanceOf, listOf } from '../core/kinds.ts'
import { type ByteSource, bytesSource, checkFileName, checkRange, type Folder } from './source.ts'

/** A server that ignores ranges sends whole files, which must then fit in memory. */
export const maxWholeResponseBytes = 2 ** 31

/** Asked for first: most files besides the weights are whole with it, and a page of HTML shows what it is. */
const headBytes = 65536

const aUrl = either('be a URL', aString, instanceOf(URL, 'be a URL'))

/**
 * What `fetch` takes (headers, credentials, an abort signal), for every request; and what the folder holds.
 */
export interface HttpFolderOptions extends RequestInit {
  /**
   * The names of the files in the folder: no other is asked for, so that no request fails. Default: the
   * server is asked for whatever a model may have.
   */
  files?: readonly string[]
}

/**
 * The files under `url`, which may be relative to the page: read by ranges where the server has them, else
 * each file as a whole. The URL's query goes with every request. A file is not there if the server answers
 * 403, 404, 410 or with a page of HTML.
 * No static server lists its folders, and a listing of our own would be one more file that may be absent; so
 * a folder is asked file by file, and the first 64 kB come with the question.
 * @throws FormatError if it is not a URL
 */
export function httpFolder(url: string | URL, { files, ...init }: HttpFolderOptions = {}): Folder {
  check('httpFolder', 'url', url, aUrl)
  if (files !== undefined) check('httpFolder', 'files', files, listOf('names of files', aString))
  const base = parseUrl(url)
  const path = base.pathname.replace(/\/+$/, '')
  const name = base.origin + path
  const address = (file: string) => {
    checkFileName(name, file)
    const found = new URL(base)
    found.pathname = `${path}/${file.split('/').map(encodeURIComponent).join('/')}`
    return found
  }
  /** What came when `has` asked, until it is opened. */
  const asked = new Map<string, ByteSource>()
  return {
    name,
    async list() {
      if (files) return [...files]
      throw new FormatError(`${name}: files over HTTP must be asked for by name; a server does not list them`)
    },
    async has(file) {
      const at = address(file)
      if (files) return files.includes(file)
      const answer = await ask(at, init)
      if ('absence' in answer) return false
      asked.set(file, answer)
      return true
    },
    async open(file) {
      const at = address(file)
      const unlisted = files !== undefined && !files.includes(file)
      const answer =
        asked.get(file) ?? (unlisted ? { absence: 'there is no such file' } : await ask(at, init))
      asked.delete(file)
      if ('absence' in answer) throw new FormatError(`${name}: must hold ${file}; ${answer.absence}`)
      return answer
    },
  }
}

/**
 * One file over HTTP; its URL may be relative to the page.
 * @throws FormatError if it is not a URL, or the server does not have it.
 */
export async function httpSource(url: string | URL, init: RequestInit = {}): Promise<ByteSource> {
  const address = parseUrl(url)
  const answer = await ask(address, init)
  if ('absence' in answer)
    throw new FormatError(`${nameOf(address)}: must be a file on the server; ${answer.absence}`)
  return answer
}

function parseUrl(url: string | URL): URL {
  // A worker has no document, and Node has no location.
  const page = globalThis.document?.baseURI ?? globalThis.location?.href
  if (!URL.canParse(url, page)) throw new FormatError(`${String(url) || '""'}: must be a URL; it is none`)
  return new URL(url, page)
}

/** What messages call a file: a query may hold secrets. */
function nameOf(url: URL): string {
  return url.origin + url.pathname
}

/** Asks for the start of a file: its source, or why there is none. */
async function ask(url: URL, init: RequestInit): Promise<ByteSource | { absence: string }> {
  const name = nameOf(url)
  let response = await request(url, init, `bytes=0-${headBytes - 1}`)
  const range = response.headers.get('content-range') ?? ''
  const [, last, size] = /^bytes 0-(\d+)\/(\d+)$/.exec(range) ?? []
  if (response.status === 206 && size === undefined) {
    // Other origins may hide how large the file is.
    await response.body?.cancel()
    response = await request(url, init)
  }
  const { status, statusText } = response
  if (status === 404 || status === 410 || status === 403) {
    await response.body?.cancel()
    return {
      absence: status === 403 ? `the server answers ${status} ${statusText}` : 'there is no such file',
    }
  }
  // A range of an empty file cannot be satisfied.
  if (status === 416 && range === 'bytes */0') return bytesSource(new Uint8Array(0), name)
  if (status !== 200 && status !== 206)
    throw new FormatError(`${name}: the server must answer 200 or 206; received ${status} ${statusText}`)
  const ranged = status === 206
  // Some servers call a range what lies beyond the end.
  const length = ranged ? Math.min(Number(last) + 1, Number(size)) : await declaredLength(name, response)
  const bytes = await readBody(name, response, length)
  if (isPage(response, bytes)) return { absence: 'the server answers with a page of HTML' }
  return ranged ? rangedSource(url, init, bytes, Number(size)) : bytesSource(bytes, name)
}

/**
 * Some servers answer with a page instead of 404: those that develop a site, and those that have one page for
 * all addresses.
 */
function isPage(response: Response, bytes: Uint8Array): boolean {
  const start = new TextDecoder().decode(bytes.subarray(0, 64)).trimStart()
  const saysSo = response.headers.get('content-type')?.startsWith('text/html') ?? false
  return /^<(!doctype html|html)\b/i.test(start) || (saysSo && start.startsWith('<'))
}

/** A file of `size` bytes that starts with `head`; the rest is read by ranges. */
function rangedSource(url: URL, init: RequestInit, head: Uint8Array, size: number): ByteSource {
  const name = nameOf(url)
  return {
    name,
    size,
    async read(offset, length) {
      checkRange({ name, size }, offset, length)
      if (offset + length <= head.length || length === 0) return head.subarray(offset, offset + length)
      const range = `${offset}-${offset + length - 1}`
      const part = await request(url, init, `bytes=${range}`)
      const received = part.headers.get('content-range') ?? 'none'
      if (part.status !== 206 || received !== `bytes ${range}/${size}`) {
        await part.body?.cancel()
        throw new FormatError(
          `${name}: the server must answer with bytes ${range} of ${size}; received status ${part.status}, range ${received}`,
          { byteOffset: offset },
        )
      }
      return readBody(name, part, length)
    },
    async close() {},
  }
}

async function request(url: URL, init: RequestInit, range?: string): Promise<Response> {
  const headers = new Headers(init.headers)
  if (range) headers.set('range', range)
  // Compressed transfers would make ranges and lengths mean something else.
  headers.set('accept-encoding', 'identity')
  // Development servers answer whoever accepts HTML with their start page.
  if (!headers.has('accept')) headers.set('accept', 'application/json, application/octet-stream')
  return fetch(url, { ...init, headers }).catch((cause) => broken(nameOf(url), cause))
}

/**
 * By the standard, what breaks on the network is a TypeError, with the reason in its cause or nowhere; an
 * abort is another.
 */
function broken(name: string, cause: unknown): never {
  if (!(cause instanceof TypeError)) throw cause
  const reason = cause.cause instanceof Error && cause.cause.message ? cause.cause.message : cause.message
  throw new FormatError(`${name}: the server must answer, and to the end; ${reason}`, { cause })
}

async function declaredLength(name: string, response: Response): Promise<number | undefined> {
  const header = response.headers.get('content-length')
  const length = Number(header)
  if (header === null || response.headers.has('content-encoding')) return undefined
  if (Number.isSafeInteger(length) && length <= maxWholeResponseBytes) return length
  await response.body?.cancel()
  throw new FormatError(
    `${name}: a server without ranges must send at most ${maxWholeResponseBytes} bytes; it announces ${header}`,
  )
}

/** The body, of exactly `length` bytes where that is known; never more memory than what arrived. */
async function readBody(name: string, response: Response, length?: number): Promise<Uint8Array> {
  const limit = length ?? maxWholeResponseBytes
  const parts: Uint8Array[] = []
  let received = 0
  const reader = response.body?.getReader()
  const next = () => reader?.read().catch((cause) => broken(name, cause))
  for (let step = await next(); step && !step.done; step = await next()) {
    received += step.value.byteLength
    if (received > limit) {
      await reader?.cancel()
      throw new FormatError(`${name}: the server must send at most ${limit} bytes; it sends more`)
    }
    parts.push(step.value)
  }
  if (length !== undefined && received !== length) {
    throw new FormatError(`${name}: the server must send ${length} bytes; it sent ${received}`)
  }
  const bytes = new Uint8Array(received)
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.byteLength
  }
  return bytes
}
