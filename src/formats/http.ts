import { FormatError } from '../core/errors.ts'
import type { ByteSource, Folder } from './source.ts'
import { bytesSource, checkFileName, checkRange, missingFile } from './source.ts'

/** A server that ignores ranges sends whole files, which must then fit in memory. */
export const maxWholeResponseBytes = 2 ** 31

/**
 * The files under `url`, read over HTTP: by ranges where the server has them, else each file as a whole.
 * `init` goes to every `fetch` (headers, credentials, an abort signal).
 */
export function httpFolder(url: string, init: RequestInit = {}): Folder {
  const base = url.endsWith('/') ? url : `${url}/`
  const address = (file: string) => {
    checkFileName(url, file)
    return new URL(file.split('/').map(encodeURIComponent).join('/'), base).href
  }
  return {
    name: url,
    async list() {
      throw new FormatError(`${url}: files over HTTP must be asked for by name; a server does not list them`)
    },
    async has(file) {
      const response = await request(address(file), init, 0, 0)
      await response.body?.cancel()
      if (isAbsent(response)) return false
      checkStatus(address(file), response)
      return true
    },
    async open(file) {
      return openHttp(address(file), init, () => missingFile(url, file))
    },
  }
}

/**
 * One file over HTTP.
 * @throws FormatError if the server does not have it.
 */
export function httpSource(url: string, init: RequestInit = {}): Promise<ByteSource> {
  return openHttp(url, init, () => new FormatError(`${url}: must be a file on the server; it has none there`))
}

async function openHttp(url: string, init: RequestInit, absent: () => FormatError): Promise<ByteSource> {
  const response = await request(url, init, 0, 0)
  if (response.status === 200) return bytesSource(await readBody(url, response, await declaredLength(url, response)), url)
  await response.body?.cancel()
  if (isAbsent(response)) throw absent()
  checkStatus(url, response)
  // A range of an empty file cannot be satisfied (416), but the answer still tells the size.
  const size = Number(/\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1] ?? NaN)
  if (!Number.isSafeInteger(size)) {
    const received = response.headers.get('content-range') ?? 'none'
    throw new FormatError(`${url}: the server must tell the file's size in Content-Range; received ${received}`)
  }
  return {
    name: url,
    size,
    async read(offset, length) {
      checkRange({ name: url, size }, offset, length)
      if (length === 0) return new Uint8Array(0)
      const part = await request(url, init, offset, offset + length - 1)
      const range = part.headers.get('content-range') ?? 'none'
      if (part.status !== 206 || range !== `bytes ${offset}-${offset + length - 1}/${size}`) {
        await part.body?.cancel()
        throw new FormatError(
          `${url}: the server must answer with bytes ${offset}-${offset + length - 1} of ${size}; ` +
            `received status ${part.status}, range ${range}`,
          { byteOffset: offset },
        )
      }
      return readBody(url, part, length)
    },
    async close() {},
  }
}

/** Compressed transfers would make ranges and lengths mean something else. */
function request(url: string, init: RequestInit, first: number, last: number): Promise<Response> {
  const headers = new Headers(init.headers)
  headers.set('range', `bytes=${first}-${last}`)
  headers.set('accept-encoding', 'identity')
  return fetch(url, { ...init, headers })
}

function isAbsent(response: Response): boolean {
  return response.status === 404 || response.status === 410
}

function checkStatus(url: string, response: Response): void {
  if ([200, 206, 416].includes(response.status)) return
  throw new FormatError(`${url}: the server must answer 200 or 206; received ${response.status} ${response.statusText}`)
}

async function declaredLength(url: string, response: Response): Promise<number | undefined> {
  const header = response.headers.get('content-length')
  const length = Number(header)
  if (header === null || response.headers.has('content-encoding')) return undefined
  if (Number.isSafeInteger(length) && length <= maxWholeResponseBytes) return length
  await response.body?.cancel()
  throw new FormatError(`${url}: a server without ranges must send at most ${maxWholeResponseBytes} bytes; it announces ${header}`)
}

/** The body, of exactly `length` bytes where that is known; never more memory than what arrived. */
async function readBody(url: string, response: Response, length?: number): Promise<Uint8Array> {
  const limit = length ?? maxWholeResponseBytes
  const parts: Uint8Array[] = []
  let received = 0
  const reader = response.body?.getReader()
  for (let step = await reader?.read(); step && !step.done; step = await reader?.read()) {
    received += step.value.byteLength
    if (received > limit) {
      await reader?.cancel()
      throw new FormatError(`${url}: the server must send at most ${limit} bytes; it sends more`)
    }
    parts.push(step.value)
  }
  if (length !== undefined && received !== length) {
    throw new FormatError(`${url}: the server must send ${length} bytes; it sent ${received}`)
  }
  const bytes = new Uint8Array(received)
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.byteLength
  }
  return bytes
}
