import { existsSync } from 'node:fs'
import { FormatError } from '../core/errors.ts'
import { diskFolder, fileSource } from './file.node.ts'
import { HubCache, type RepositoryType } from './hubCache.node.ts'
import { type HubSettings, hubSettings } from './hubSettings.node.ts'
import { type ByteSource, checkFileName, type Folder, missingFile, type OpenOptions } from './source.ts'

/** How the hub is asked. */
interface Access {
  hubUrl: string
  accessToken?: string
  fetch: typeof fetch
}

/** A model, or a data set. */
interface RepositoryName {
  type: RepositoryType
  name: string
}

/** What is used of `@huggingface/hub`. */
export interface Hub {
  modelInfo(
    options: Access & { name: string; revision: string; additionalFields: ['sha', 'filePaths'] },
  ): Promise<{ sha: string; filePaths: string[] }>
  datasetInfo(
    options: Access & { name: string; revision: string; additionalFields: ['sha'] },
  ): Promise<{ sha: string }>
  pathsInfo(
    options: Access & { repo: RepositoryName; revision: string; paths: string[] },
  ): Promise<{ oid?: string; size: number; lfs?: { oid: string; size: number } }[]>
  downloadFile(
    options: Access & { repo: RepositoryName; revision: string; path: string },
  ): Promise<Blob | null>
  createRepo(
    options: Access & { accessToken: string; repo: string; private?: boolean },
  ): Promise<{ repoUrl: string }>
  uploadFilesWithProgress(
    options: Access & {
      accessToken: string
      repo: string
      files: { path: string; content: URL | Blob }[]
      commitTitle: string
      abortSignal?: AbortSignal
    },
  ): AsyncGenerator<{ event: string; path?: string; progress?: number; state?: string }, unknown>
}

/** As long as Python's library waits for an answer, before what is kept has to do. */
const answerMs = 10_000
/** Downloads that break are taken up as often, as long as each brings more. */
const attempts = 5

/** `org/name`, as the hub writes ids. */
export function isHubId(id: string): boolean {
  return /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(id)
}

/**
 * A model of the hub: its files are downloaded when they are opened, into the cache that Hugging Face's own
 * tools keep; those that are there already are not. Where the hub does not answer, what is kept of the model
 * has to do.
 * @throws FormatError if it is neither there nor to be had
 */
export async function hubFolder(id: string, options: OpenOptions = {}, revision = 'main'): Promise<Folder> {
  const settings = await hubSettings()
  const cache = new HubCache(settings.cacheDir, id, 'model')
  const kept = await cache.commitOf(revision)
  if (settings.offline) {
    if (kept !== null) return diskFolder(cache.snapshot(kept))
    throw new FormatError(
      `${id}: must be a folder, or in the hub's cache when HF_HUB_OFFLINE is 1; it is neither`,
    )
  }
  try {
    const hub = await loadHub(`${id}: must be a folder that exists`)
    const { sha, filePaths } = await hub.modelInfo({
      ...access(settings, [options.signal, AbortSignal.timeout(answerMs)]),
      ...{ name: id, revision, additionalFields: ['sha', 'filePaths'] },
    })
    await cache.keepRevision(revision, checkedCommit(sha))
    return remoteFolder(
      new Repository(hub, settings, cache, { type: 'model', name: id }, sha, options),
      filePaths,
    )
  } catch (cause) {
    options.signal?.throwIfAborted()
    if (kept !== null) return diskFolder(cache.snapshot(kept))
    if (cause instanceof FormatError) throw cause
    throw new FormatError(`${id}: must be a folder, or a model of the hub; ${reasonOf(cause, settings)}`, {
      cause,
    })
  }
}

/**
 * A file of a data set of the hub, which is downloaded as those of models are.
 * @throws FormatError if it is neither in the hub's cache nor to be had
 */
export async function hubDatasetFile(
  id: string,
  file: string,
  options: OpenOptions = {},
): Promise<ByteSource> {
  const settings = await hubSettings()
  const cache = new HubCache(settings.cacheDir, id, 'dataset')
  const kept = await cache.commitOf('main')
  const path = kept === null ? null : cache.pathOf(kept, file)
  // A data set stays as it is: what is kept of it is not asked for again.
  if (path !== null && existsSync(path)) return fileSource(path, `${id}/${file}`)
  const must = `${id}: its ${file} must be in the hub's cache, ${cache.folder}, or to be downloaded`
  if (settings.offline) throw new FormatError(`${must}; it is not there, and HF_HUB_OFFLINE is 1`)
  const hub = await loadHub(must)
  try {
    const { sha } = await hub.datasetInfo({
      ...access(settings, [options.signal, AbortSignal.timeout(answerMs)]),
      ...{ name: id, revision: 'main', additionalFields: ['sha'] },
    })
    await cache.keepRevision('main', checkedCommit(sha))
    return await new Repository(hub, settings, cache, { type: 'dataset', name: id }, sha, options).open(file)
  } catch (cause) {
    options.signal?.throwIfAborted()
    if (cause instanceof FormatError) throw cause
    throw new FormatError(`${must}; ${reasonOf(cause, settings)}`, { cause })
  }
}

function checkedCommit(sha: string): string {
  if (/^[0-9a-f]{40}$/.test(sha)) return sha
  throw new Error('it names no commit')
}

/**
 * A file of a model of the hub.
 * @throws FormatError as `hubFolder`
 */
export async function hubFile(id: string, file: string, options: OpenOptions): Promise<ByteSource> {
  const folder = await hubFolder(id, options).catch((error: Error) => {
    const problem = `${id}/${file}: must be a file, or one of the hub; there is no such file, and of the hub`
    throw error instanceof FormatError
      ? new FormatError(`${problem} ${error.message}`, { cause: error })
      : error
  })
  return folder.open(file)
}

function remoteFolder(repository: Repository, files: readonly string[]): Folder {
  const { id } = repository
  return {
    name: id,
    async list() {
      return files.filter((file) => !file.includes('/')).sort()
    },
    async has(file) {
      checkFileName(id, file)
      return files.includes(file)
    },
    async open(file) {
      checkFileName(id, file)
      if (!files.includes(file)) throw missingFile(id, file)
      return repository.open(file)
    },
  }
}

/** A model or a data set of the hub at a commit. */
class Repository {
  readonly id: string
  private readonly name: RepositoryName
  private readonly hub: Hub
  private readonly settings: HubSettings
  private readonly cache: HubCache
  private readonly commit: string
  private readonly options: OpenOptions

  constructor(
    hub: Hub,
    settings: HubSettings,
    cache: HubCache,
    name: RepositoryName,
    commit: string,
    options: OpenOptions,
  ) {
    this.hub = hub
    this.settings = settings
    this.cache = cache
    this.id = name.name
    this.name = name
    this.commit = commit
    this.options = options
  }

  async open(file: string): Promise<ByteSource> {
    const path = this.cache.pathOf(this.commit, file)
    if (existsSync(path)) return fileSource(path, `${this.id}/${file}`)
    try {
      return await fileSource(await this.download(file), `${this.id}/${file}`)
    } catch (cause) {
      this.options.signal?.throwIfAborted()
      throw new FormatError(
        `${this.id}: ${file} must be downloaded whole; ${reasonOf(cause, this.settings)}; run it again, and it goes on from there`,
        { cause },
      )
    }
  }

  private async download(file: string): Promise<string> {
    const { hub, cache, commit, name, options } = this
    const where = { ...access(this.settings, [options.signal]), repo: name, revision: commit }
    const [info] = await hub.pathsInfo({ ...where, paths: [file] })
    const { oid: etag = '', size } = info?.lfs ?? info ?? { size: 0 }
    if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag)) throw new Error('the hub says no hash of it')
    for (let attempt = 1, most = 0; !existsSync(cache.blob(etag)); attempt++) {
      let now = 0
      const onProgress = (bytes: number) => {
        now = bytes
        options.onDownload?.(file, bytes, size)
      }
      try {
        const blob = await hub.downloadFile({ ...where, path: file })
        if (blob?.size !== size) throw new Error(`it must have ${size} bytes; it has ${blob?.size ?? 'none'}`)
        const content = (start: number) => blob.slice(start).stream() as unknown as AsyncIterable<Uint8Array>
        // Only LFS files are known by a hash of their bytes alone; the others are small.
        await cache.store(etag, size, info.lfs !== undefined, content, onProgress)
      } catch (error) {
        options.signal?.throwIfAborted()
        if (attempt >= attempts || now <= most) throw error
        most = now
      }
    }
    return cache.link(commit, file, etag)
  }
}

/** How `settings` say that the hub is asked; a signal ends every request. */
export function access(settings: HubSettings, signals: readonly (AbortSignal | undefined)[]): Access {
  const given = signals.filter((signal) => signal !== undefined)
  return {
    hubUrl: settings.endpoint,
    ...(settings.token !== undefined && { accessToken: settings.token }),
    fetch: (input, init) => {
      const all = init?.signal ? [...given, init.signal] : given
      return fetch(input, all.length > 0 ? { ...init, signal: AbortSignal.any(all) } : init)
    },
  }
}

/** Why the hub gave nothing. */
export function reasonOf(cause: unknown, { endpoint, token }: HubSettings): string {
  const status = cause instanceof Error && 'statusCode' in cause ? Number(cause.statusCode) : undefined
  if (status === 401 || status === 403 || status === 404)
    return token === undefined
      ? `the hub shows none of this name (${status}); a private or gated one needs HF_TOKEN`
      : `the hub shows none of this name to the owner of the token (${status})`
  if (status !== undefined) return `the hub answers ${status} (${(cause as Error).message})`
  if (cause instanceof DOMException && cause.name === 'TimeoutError')
    return `${endpoint} does not answer within ${answerMs / 1000} seconds`
  const code = cause instanceof Error ? (cause.cause as { code?: string } | undefined)?.code : undefined
  if (cause instanceof TypeError) return `${endpoint} cannot be reached (${code ?? cause.message})`
  return cause instanceof Error ? cause.message : String(cause)
}

/**
 * The optional peer that speaks to the hub.
 * @param must the first half of the message where it is not installed
 */
export async function loadHub(must: string): Promise<Hub> {
  const name = '@huggingface/hub'
  try {
    return await import(name)
  } catch (cause) {
    throw new FormatError(`${must}; to reach the Hugging Face hub, install ${name}`, { cause })
  }
}
