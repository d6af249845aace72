import { createHash } from 'node:crypto'
import { constants, createReadStream, existsSync } from 'node:fs'
import { copyFile, mkdir, open, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { pipeline } from 'node:stream/promises'

/** What the hub keeps: here, models and data sets. */
export type RepositoryType = 'model' | 'dataset'

/**
 * A model, or a data set, in the cache of Hugging Face's own tools, which find what is put here, and the other way round:
 *
 *     models--ORG--NAME                             or datasets--ORG--NAME
 *     models--ORG--NAME/refs/main                   the commit that a revision was when it was last asked for
 *     models--ORG--NAME/blobs/ETAG                  the bytes of files; ETAG.incomplete while they come
 *     models--ORG--NAME/snapshots/COMMIT/FILE       links to them, under the names that the files have there
 *
 * Source: huggingface_hub 2.4, file_download.py, `_hf_hub_download_to_cache_dir`.
 */
export class HubCache {
  readonly folder: string

  constructor(cacheDir: string, id: string, type: RepositoryType) {
    this.folder = join(cacheDir, `${type}s--${id.replace('/', '--')}`)
  }

  /**
   * The commit that a revision was when it was last asked for; a commit is its own; null if nothing is kept
   * of it.
   */
  async commitOf(revision: string): Promise<string | null> {
    const text = await readFile(join(this.folder, 'refs', revision), 'utf8').catch(() => revision)
    const commit = text.trim()
    return commit !== '' && existsSync(this.snapshot(commit)) ? commit : null
  }

  async keepRevision(revision: string, commit: string): Promise<void> {
    if (revision === commit) return
    const path = join(this.folder, 'refs', revision)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, commit)
  }

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit)
  }

  /** Where a file is, or would be, under its name. */
  pathOf(commit: string, file: string): string {
    return join(this.snapshot(commit), file)
  }

  blob(etag: string): string {
    return join(this.folder, 'blobs', etag)
  }

  /** Puts a blob under the name of a file: as a link, where the system has links, else as a copy. */
  async link(commit: string, file: string, etag: string): Promise<string> {
    const path = this.pathOf(commit, file)
    await mkdir(dirname(path), { recursive: true })
    await symlink(relative(dirname(path), this.blob(etag)), path).catch((error: NodeJS.ErrnoException) => {
      // Another process was first, or Windows does not let this user make links.
      if (error.code !== 'EEXIST') return copyFile(this.blob(etag), path)
    })
    return path
  }

  /**
   * Stores the bytes of a blob, which may have come in part before: goes on behind them.
   * @param etag of content by its SHA-256, if `resumable`, so that what was put together can be checked
   * @param content the bytes from a place on
   * @throws Error if bytes are missing, too many, or do not make the blob; what is wrong is removed
   */
  async store(
    etag: string,
    size: number,
    resumable: boolean,
    content: (start: number) => AsyncIterable<Uint8Array>,
    onProgress: (bytes: number) => void,
  ): Promise<void> {
    const path = this.blob(etag)
    const incomplete = `${path}.incomplete`
    await mkdir(dirname(path), { recursive: true })
    // Not cut off: another process may be writing the same bytes to the same places.
    const file = await open(incomplete, constants.O_RDWR | constants.O_CREAT)
    const held = (await file.stat()).size
    const start = resumable && held < size ? held : 0
    let at = start
    try {
      onProgress(at)
      for await (const bytes of content(start)) {
        await file.write(bytes, 0, bytes.byteLength, at)
        at += bytes.byteLength
        onProgress(at)
      }
      if (at === size) await file.truncate(size)
    } finally {
      await file.close()
    }
    if (at < size) throw new Error(`it ended after ${at} of ${size} bytes`)
    if (at > size || (start > 0 && (await sha256(incomplete)) !== etag)) {
      await rm(incomplete, { force: true })
      throw new Error('what came in parts does not make the file')
    }
    await rename(incomplete, path).catch(async (error: unknown) => {
      // Another process was first.
      if ((await stat(path).catch(() => null))?.size !== size) throw error
    })
  }
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
