import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after } from 'node:test'

/** A model on the server. */
export interface HubModel {
  readonly files: Map<string, Buffer>
  isPrivate: boolean
}

/**
 * A server on this machine that speaks the part of the hub's API that downloads and uploads need, as
 * huggingface.co/docs/hub/api describes it: files of 1000 bytes or more are in LFS.
 */
export class HubServer {
  readonly models = new Map<string, HubModel>()
  /** Method, path and range of every request. */
  readonly requests: string[] = []
  /** The only token that may read what is private, and write. */
  readonly token = 'hf_test'
  /** After so many bytes of a file the connection breaks, as often as `breaks` says. */
  breakAfter = Number.POSITIVE_INFINITY
  breaks = 0
  url = ''
  private readonly uploads = new Map<string, Buffer>()

  async listen(): Promise<this> {
    const server = createServer((request, response) => {
      this.answer(request, response).catch((error) => response.writeHead(500).end(String(error)))
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    after(() => {
      server.close()
      server.closeAllConnections()
    })
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    return this
  }

  /** Of the files that a model has now. */
  commitOf(id: string): string {
    const hash = createHash('sha1').update(id)
    for (const [name, bytes] of this.models.get(id)?.files ?? []) hash.update(name).update(bytes)
    return hash.digest('hex')
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(new URL(request.url ?? '', this.url).pathname)
    this.requests.push([request.method, path, request.headers.range ?? ''].join(' ').trim())
    const json = (status: number, value: unknown, headers = {}) =>
      response
        .writeHead(status, { 'content-type': 'application/json', ...headers })
        .end(JSON.stringify(value))
    const known = request.headers.authorization === `Bearer ${this.token}`
    const [, id = '', rest = ''] =
      /^(?:\/api\/models|\/api\/datasets|\/datasets)?\/([^/]+\/[^/]+?)(?:\.git)?(\/.*)?$/.exec(path) ?? []
    const body = async () => {
      const parts: Buffer[] = []
      for await (const part of request) parts.push(part)
      return Buffer.concat(parts)
    }
    if (path === '/api/repos/create') {
      const { name, organization, visibility } = JSON.parse(String(await body()))
      if (!known) return void json(401, { error: 'Invalid username or password.' })
      if (this.models.has(`${organization}/${name}`))
        return void json(409, { error: 'You already created this model repo' })
      this.models.set(`${organization}/${name}`, { files: new Map(), isPrivate: visibility === 'private' })
      return void json(200, { url: `${this.url}/${organization}/${name}`, id: name })
    }
    if (path.startsWith('/upload/')) {
      this.uploads.set(path.slice('/upload/'.length), await body())
      return void response.writeHead(200).end()
    }
    const model = this.models.get(id)
    if (!model || (model.isPrivate && !known))
      return void json(
        model ? 401 : 404,
        { error: 'Repository not found' },
        { 'x-error-code': 'RepoNotFound' },
      )
    const commit = this.commitOf(id)
    const [, operation] = rest.split('/')
    if (operation === 'revision')
      return void json(200, {
        ...{
          _id: '1',
          id,
          private: model.isPrivate,
          downloads: 0,
          likes: 0,
          gated: false,
          lastModified: new Date(0),
          sha: commit,
        },
        siblings: [...model.files.keys()].map((rfilename) => ({ rfilename })),
      })
    if (operation === 'paths-info') {
      const { paths } = JSON.parse(String(await body()))
      return void json(
        200,
        paths.flatMap((name: string) =>
          model.files.has(name) ? [infoOf(name, model.files.get(name) as Buffer)] : [],
        ),
      )
    }
    if (operation === 'resolve')
      return this.send(rest.split('/').slice(3).join('/'), model, commit, request, response)
    if (!known) return void json(403, { error: 'You have no write access' })
    if (operation === 'preupload') {
      const { files } = JSON.parse(String(await body()))
      const modes = files.map(({ path, size }: { path: string; size: number }) => ({
        path,
        uploadMode: size < 1000 ? 'regular' : 'lfs',
      }))
      return void json(200, { files: modes })
    }
    if (rest.endsWith('/objects/batch')) {
      const { objects } = JSON.parse(String(await body()))
      const actions = (oid: string) => ({ upload: { href: `${this.url}/upload/${oid}` } })
      return void json(200, {
        transfer: 'basic',
        objects: objects.map(({ oid, size }: { oid: string; size: number }) => ({
          oid,
          size,
          actions: actions(oid),
        })),
      })
    }
    if (operation === 'commit') {
      for (const line of String(await body()).split('\n')) {
        const { key, value } = JSON.parse(line)
        if (key === 'file') model.files.set(value.path, Buffer.from(value.content, value.encoding))
        if (key === 'lfsFile') model.files.set(value.path, this.uploads.get(value.oid) as Buffer)
      }
      return void json(200, {
        commitUrl: `${this.url}/${id}/commit/1`,
        commitOid: this.commitOf(id),
        hookOutput: '',
      })
    }
    json(404, { error: 'Not found' })
  }

  private send(
    name: string,
    { files }: HubModel,
    commit: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const bytes = files.get(name)
    if (!bytes) return void response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end()
    const { oid, lfs } = infoOf(name, bytes)
    const etag = `"${lfs?.oid ?? oid}"`
    const headers = {
      ...{
        etag,
        'x-repo-commit': commit,
        'accept-ranges': 'bytes',
        'content-type': 'application/octet-stream',
      },
      ...(lfs && { 'x-linked-etag': etag, 'x-linked-size': String(bytes.length) }),
    }
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
    const start = Number(from ?? 0)
    const part = bytes.subarray(start, to ? Number(to) + 1 : undefined)
    const range =
      from === undefined
        ? {}
        : { 'content-range': `bytes ${start}-${start + part.length - 1}/${bytes.length}` }
    response.writeHead(from === undefined ? 200 : 206, {
      ...headers,
      ...range,
      'content-length': part.length,
    })
    if (request.method === 'HEAD') return void response.end()
    if (this.breaks > 0 && part.length > this.breakAfter) {
      this.breaks--
      return void response.write(part.subarray(0, this.breakAfter), () =>
        setTimeout(() => response.destroy(), 50),
      )
    }
    response.end(part)
  }
}

/** As the hub lists a file: by its git hash, or, in LFS, by that of its bytes. */
function infoOf(path: string, bytes: Buffer) {
  const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
  const lfs =
    bytes.length < 1000
      ? undefined
      : { oid: createHash('sha256').update(bytes).digest('hex'), size: bytes.length }
  return { type: 'file', path, size: bytes.length, oid, lfs }
}
