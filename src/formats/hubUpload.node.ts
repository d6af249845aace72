import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { FormatError } from '../core/errors.ts'
import { diskFolder } from './file.node.ts'
import { access, isHubId, loadHub, reasonOf } from './hub.node.ts'
import { hubSettings } from './hubSettings.node.ts'

/** How a folder goes to the hub. */
export interface UploadOptions {
  /** Whether only its owner sees a model that is new there; one that is there already stays as it is. */
  private?: boolean
  /** Texts that go along, by name, where the folder has no such files. */
  texts: Readonly<Record<string, string>>
  signal?: AbortSignal
  /** Called with the share of a large file that is done, hashed and then uploaded. */
  onProgress?(file: string, share: number): void
}

/**
 * Puts the files of a folder, not those of folders in it, and not hidden ones, into a model of the hub, in
 * one commit; makes the model where there is none.
 * @returns its address
 * @throws FormatError if the hub cannot be reached, or does not let the owner of the token write there
 */
export async function uploadFolder(folder: string, id: string, options: UploadOptions): Promise<string> {
  if (!isHubId(id))
    throw new FormatError(`push: a model of the hub must be called as org/name; received ${id}`)
  const settings = await hubSettings()
  const { token, offline, endpoint } = settings
  if (offline) throw new FormatError(`push ${id}: the hub must be asked; HF_HUB_OFFLINE forbids it`)
  if (token === undefined)
    throw new FormatError(
      `push ${id}: the hub must know who pushes; set HF_TOKEN to a token that may write, or run hf auth login`,
    )
  const names = (await diskFolder(folder).list()).filter((name) => !name.startsWith('.'))
  const files: { path: string; content: URL | Blob }[] = names.map((name) => {
    return { path: name, content: pathToFileURL(join(folder, name)) }
  })
  for (const [name, text] of Object.entries(options.texts))
    if (!names.includes(name)) files.push({ path: name, content: new Blob([text]) })
  const hub = await loadHub(`${id}: must be reached`)
  const where = { ...access(settings, [options.signal]), accessToken: token, repo: id }
  try {
    await hub.createRepo({ ...where, private: options.private }).catch((error: unknown) => {
      if (statusOf(error) !== 409) throw error
    })
    const steps = hub.uploadFilesWithProgress({
      ...where,
      files,
      commitTitle: 'Upload with lowbit',
      abortSignal: options.signal,
    })
    for await (const { event, path, progress = 0, state } of steps)
      if (event === 'fileProgress' && path !== undefined)
        options.onProgress?.(path, state === 'hashing' ? progress / 2 : (1 + progress) / 2)
    return `${endpoint}/${id}`
  } catch (cause) {
    options.signal?.throwIfAborted()
    const status = statusOf(cause)
    const refused = status === 401 || status === 403
    const reason = refused
      ? `the hub does not let the token write there (${status})`
      : reasonOf(cause, settings)
    throw new FormatError(`push ${id}: the files must reach the hub; ${reason}`, { cause })
  }
}

function statusOf(error: unknown): number | undefined {
  return error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : undefined
}
