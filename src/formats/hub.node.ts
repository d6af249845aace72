import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { FormatError } from '../core/errors.ts'
import { diskFolder } from './file.node.ts'
import type { Folder } from './source.ts'

/** What this module uses of `@huggingface/hub`. */
interface Hub {
  snapshotDownload(options: {
    repo: string
    revision: string
    cacheDir: string
    accessToken?: string
  }): Promise<string>
}

/** `org/name`, as the hub writes ids. */
export function isHubId(id: string): boolean {
  return /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(id)
}

/**
 * A model of the hub: from the cache that Hugging Face's own tools keep, else downloaded into it.
 * @throws FormatError if it is neither there nor to be had.
 */
export async function hubFolder(id: string, revision = 'main'): Promise<Folder> {
  const cacheDir =
    process.env.HF_HUB_CACHE ?? join(process.env.HF_HOME ?? join(homedir(), '.cache', 'huggingface'), 'hub')
  const repository = join(cacheDir, `models--${id.replace('/', '--')}`)
  const commit = await readFile(join(repository, 'refs', revision), 'utf8').catch(() => revision)
  const snapshot = join(repository, 'snapshots', commit.trim())
  if (existsSync(snapshot)) return diskFolder(snapshot)
  if (process.env.HF_HUB_OFFLINE === '1')
    throw new FormatError(
      `${id}: must be a folder, or in the hub's cache when HF_HUB_OFFLINE is 1; it is neither`,
    )
  const hub = await loadHub(id)
  const path = await hub
    .snapshotDownload({ repo: id, revision, cacheDir, accessToken: process.env.HF_TOKEN })
    .catch((cause: unknown) => {
      throw new FormatError(
        `${id}: must be a folder or a model of the hub; ${cause instanceof Error ? cause.message : cause}`,
        { cause },
      )
    })
  return diskFolder(path)
}

/** The optional peer that downloads. */
async function loadHub(id: string): Promise<Hub> {
  const name = '@huggingface/hub'
  try {
    return await import(name)
  } catch (cause) {
    throw new FormatError(
      `${id}: must be a folder that exists; to download it from the Hugging Face hub, install ${name}`,
      { cause },
    )
  }
}
