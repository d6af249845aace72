// npm run example browser/serve: a static server with byte ranges, and with the two headers that give a page
// shared memory.
import { createReadStream, type Stats, statSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readOptions } from '../options.ts'

const types: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
}

/** Without these headers a page has no SharedArrayBuffer, and lowbit runs on one thread. */
const isolation = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
}

/** Serves the files of `folder` to this machine; a `port` of 0 takes a free one. */
export function serve(folder: string, { isolated = true, port = 0 } = {}): Promise<Server> {
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(isolated ? isolation : {})) response.setHeader(name, value)
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    send(join(folder, normalize(decodeURIComponent(pathname))), request.headers.range, response)
  })
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server)))
}

/** The URL of a server's root. */
export function urlOf(server: Server): string {
  const address = server.address()
  return `http://localhost:${typeof address === 'object' ? address?.port : address}/`
}

function send(asked: string, range: string | undefined, response: ServerResponse): void {
  const path = asked.endsWith('/') ? join(asked, 'index.html') : asked
  const stats: Stats | undefined = statSync(path, { throwIfNoEntry: false })
  if (!stats?.isFile()) {
    response.writeHead(404).end()
    return
  }
  const headers = {
    'content-type': types[extname(path)] ?? 'application/octet-stream',
    'accept-ranges': 'bytes',
  }
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? []
  if (first === undefined) {
    response.writeHead(200, { ...headers, 'content-length': stats.size })
    createReadStream(path).pipe(response)
    return
  }
  const start = Number(first)
  const end = Math.min(last ? Number(last) : Infinity, stats.size - 1)
  if (start > end) {
    response.writeHead(416, { 'content-range': `bytes */${stats.size}` }).end()
    return
  }
  response.writeHead(206, {
    ...headers,
    'content-length': end - start + 1,
    'content-range': `bytes ${start}-${end}/${stats.size}`,
  })
  createReadStream(path, { start, end }).pipe(response)
}

if (import.meta.main) {
  const about = `Serves the files of FOLDER (default: build/browser, where "npm run build:browser" puts the page) to
this machine, with byte ranges and the headers that give a page shared memory.`
  const { port, positionals } = readOptions(
    'browser/serve [FOLDER]',
    about,
    { port: [8080, 'where to listen; 0 takes a free port'] },
    1,
  )
  const folder = positionals[0] ?? fileURLToPath(new URL('../../build/browser', import.meta.url))
  console.log(urlOf(await serve(folder, { port })))
}
