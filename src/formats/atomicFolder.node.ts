import { randomBytes } from 'node:crypto'
import { type Dirent, existsSync, renameSync, rmdirSync, rmSync } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { FormatError } from '../core/errors.ts'
import { several } from '../core/lists.ts'
import { explainRefusal } from './diskRefusals.node.ts'
import { errorCode } from './file.node.ts'
import { checkFileName, type FolderSink } from './source.ts'

/** Written between two looks at the abort signal. */
const chunkBytes = 2 ** 24

/**
 * Folders that this process is writing now: its own number alone does not tell them from a dead namesake's.
 */
const inProgress = new Set<string>()

export interface SaveOptions {
  /**
   * Replaces a folder that holds nothing but files whose names this accepts; it stays whole until the new one
   * is. Without it only an empty folder is replaced.
   */
  overwrite?: (name: string) => boolean
  /** The one file that is written, which is moved to the target itself, where a file may be replaced. */
  file?: string
  /** Stops the save, which then throws the signal's reason. */
  signal?: AbortSignal
}

/**
 * Writes a folder that appears at `target` whole or not at all: `write` fills `.lowbit-<pid>-<random>` beside
 * it, which is flushed to disk and renamed into place. On failure, abort, SIGINT or SIGTERM it is removed;
 * what a killed process left is removed by the next save beside it.
 * @throws FormatError if the target holds what may not be replaced, or the disk refuses (full, read-only, no
 * permission …).
 */
export async function saveFolder<T>(
  target: string,
  write: (folder: FolderSink) => Promise<T>,
  options: SaveOptions = {},
): Promise<T> {
  const { signal, file } = options
  const interrupt = new AbortController()
  const stop = signal ? AbortSignal.any([signal, interrupt.signal]) : interrupt.signal
  let draft: Draft | undefined
  let release = () => {}
  try {
    stop.throwIfAborted()
    // Through links, so that the folder written lies on the disk of the one replaced.
    const place = await realpath(target).catch(() => resolve(target))
    await makeFolders(dirname(place))
    // First, because a folder that was lost midway comes back.
    await removeLeftovers(dirname(place))
    await checkPlace(place, target, options)
    draft = new Draft(place)
    release = onSignals(draft, interrupt)
    await mkdir(draft.path)
    const result = await write(draft.sink(stop))
    stop.throwIfAborted()
    await draft.flush()
    await checkPlace(place, target, options)
    if (file === undefined) draft.moveIntoPlace()
    else draft.moveFile(file)
    await flushFolder(dirname(place))
    // The new folder is in place; what cannot be removed now, the next save tries again.
    await rm(draft.replaced, { recursive: true, force: true }).catch(() => {})
    return result
  } catch (cause) {
    // What cannot be removed matters less than why the save failed; the next save tries again.
    await draft?.discard().catch(() => {})
    throw stop.aborted ? stop.reason : explainRefusal(target, cause)
  } finally {
    release()
    if (draft) inProgress.delete(draft.path)
  }
}

/**
 * Asks beforehand whether `saveFolder` would refuse the target, before work is done that could not be saved.
 * @throws FormatError if the target holds what may not be replaced, or is no folder.
 */
export async function checkSaveTarget(
  target: string,
  options: Pick<SaveOptions, 'overwrite' | 'file'> = {},
): Promise<void> {
  try {
    await checkPlace(await realpath(target).catch(() => resolve(target)), target, options)
  } catch (cause) {
    throw explainRefusal(target, cause)
  }
}

/** The folder being written, beside its place. */
class Draft {
  readonly path: string
  /**
   * Where the folder that it replaces goes until it is removed; its name tells the next save where it
   * belongs.
   */
  readonly replaced: string
  private readonly place: string
  private readonly folders = new Set<string>()
  private readonly handles = new Set<FileHandle>()

  constructor(place: string) {
    const name = `.lowbit-${process.pid}-${randomBytes(6).toString('hex')}`
    this.place = place
    this.path = join(dirname(place), name)
    this.replaced = join(dirname(place), `${name}.replaced.${basename(place)}`)
    this.folders.add(this.path)
    inProgress.add(this.path)
  }

  sink(stop: AbortSignal): FolderSink {
    return {
      create: async (file) => {
        checkFileName(this.place, file)
        stop.throwIfAborted()
        for (let folder = dirname(join(this.path, file)); folder !== this.path; folder = dirname(folder))
          this.folders.add(folder)
        await mkdir(dirname(join(this.path, file)), { recursive: true })
        const handle = await open(join(this.path, file), 'wx')
        this.handles.add(handle)
        return {
          write: async (bytes) => {
            for (let done = 0; done < bytes.byteLength; ) {
              stop.throwIfAborted()
              const { bytesWritten } = await handle.write(
                bytes,
                done,
                Math.min(chunkBytes, bytes.byteLength - done),
              )
              done += bytesWritten
            }
          },
          writeAt: async (offset, bytes) => {
            for (let done = 0; done < bytes.byteLength; ) {
              stop.throwIfAborted()
              const length = Math.min(chunkBytes, bytes.byteLength - done)
              const { bytesWritten } = await handle.write(bytes, done, length, offset + done)
              done += bytesWritten
            }
          },
          close: () => this.finish(handle),
        }
      },
    }
  }

  private async finish(handle: FileHandle): Promise<void> {
    if (!this.handles.delete(handle)) return
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  }

  /** Makes all files and their names durable. */
  async flush(): Promise<void> {
    for (const handle of this.handles) await this.finish(handle)
    for (const folder of this.folders) await flushFolder(folder)
  }

  /** Synchronous, so that a signal handler never sees the moment between the two renames. */
  moveIntoPlace(): void {
    if (clearPlace(this.place)) {
      renameSync(this.path, this.place)
      return
    }
    renameSync(this.place, this.replaced)
    try {
      renameSync(this.path, this.place)
    } catch (error) {
      renameSync(this.replaced, this.place)
      throw error
    }
  }

  /** The one file written takes the place; what is there is replaced in the same moment. */
  moveFile(file: string): void {
    renameSync(join(this.path, file), this.place)
    this.discardNow()
  }

  async discard(): Promise<void> {
    await Promise.all([...this.handles].map((handle) => handle.close().catch(() => {})))
    this.discardNow()
  }

  /** As a signal handler can. */
  discardNow(): void {
    rmSync(this.path, { recursive: true, force: true, maxRetries: 3 })
  }
}

/**
 * Makes room for a rename: true if nothing is there, or only an empty folder, which is removed; false if it
 * holds files.
 */
function clearPlace(path: string): boolean {
  if (!existsSync(path)) return true
  try {
    rmdirSync(path)
    return true
  } catch (cause) {
    if (['ENOTEMPTY', 'EEXIST'].includes(errorCode(cause) ?? '')) return false
    throw cause
  }
}

function checkPlace(place: string, target: string, { overwrite, file }: SaveOptions): Promise<void> {
  return file === undefined ? checkTarget(place, target, overwrite) : checkFile(place, target, overwrite)
}

/** @throws FormatError if a file cannot take the place */
async function checkFile(place: string, target: string, overwrite: SaveOptions['overwrite']): Promise<void> {
  const kind = await lstat(place).catch((cause: unknown) => {
    if (errorCode(cause) === 'ENOENT') return undefined
    throw cause
  })
  if (!kind) return
  if (!kind.isFile())
    throw new FormatError(
      `save ${target}: the target must be a file or not exist; it is a folder or a device`,
    )
  if (!overwrite)
    throw new FormatError(`save ${target}: the file must not exist, unless overwrite is set; it does`)
}

async function checkTarget(
  place: string,
  target: string,
  overwrite: SaveOptions['overwrite'],
): Promise<void> {
  const kind = await stat(place).catch((cause: unknown) => {
    if (errorCode(cause) === 'ENOENT') return undefined
    throw cause
  })
  if (!kind) {
    if (await lstat(place).catch(() => undefined))
      throw new FormatError(
        `save ${target}: the target must be a folder or not exist; it is a link that leads nowhere`,
      )
    return
  }
  for (const [folder, name] of [
    [process.cwd(), 'the working folder'],
    [homedir(), 'the home folder'],
  ]) {
    if (!`${folder}${sep}`.startsWith(place.endsWith(sep) ? place : `${place}${sep}`)) continue
    throw new FormatError(
      `save ${target}: the folder must be replaceable as a whole; it holds ${name}, so name one inside it`,
    )
  }
  if (!kind.isDirectory())
    throw new FormatError(`save ${target}: the target must be a folder or not exist; it is a file`)
  const entries = (await readdir(place, { withFileTypes: true })).filter((entry) => !isDraft(place, entry))
  if (entries.length === 0) return
  if (!overwrite) {
    const held = several(namesOf(entries))
    throw new FormatError(
      `save ${target}: the folder must be empty or not exist, unless overwrite is set; it holds ${held}`,
    )
  }
  const others = entries.filter((entry) => !(entry.isFile() && overwrite(entry.name)))
  if (others.length === 0) return
  throw new FormatError(
    `save ${target}: overwrite must find the files of a save alone; the folder also holds ${several(namesOf(others))}`,
  )
}

/** Whether it is what a dead process left of a save into this folder. */
function isDraft(parent: string, entry: Dirent): boolean {
  const leftover = entry.isDirectory() && asLeftover(parent, entry.name)
  return leftover ? leftover.home === undefined : false
}

function namesOf(entries: readonly Dirent[]): string[] {
  return entries.map((entry) => (entry.isDirectory() ? `${entry.name}${sep}` : entry.name)).sort()
}

/**
 * Removes what dead processes left in `parent`; a folder that one had moved aside and not yet replaced goes
 * back to its place.
 */
async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const leftover = asLeftover(parent, name)
    if (!leftover) continue
    const path = join(parent, name)
    const home = leftover.home && join(parent, leftover.home)
    const done = home && !existsSync(home) ? rename(path, home) : rm(path, { recursive: true, force: true })
    // Another user's leftover, or one that another save removes at this moment, is not worth failing for.
    await done.catch(() => {})
  }
}

/**
 * What a process that is no more left under this name: a draft, or the folder that one was to replace, which
 * belongs at `home`.
 */
function asLeftover(parent: string, name: string): { home?: string } | undefined {
  const [, draft, pid, home] = /^(\.lowbit-(\d+)-[0-9a-f]{12})(?:\.replaced\.(.+))?$/.exec(name) ?? []
  if (
    draft === undefined ||
    inProgress.has(join(parent, draft)) ||
    (Number(pid) !== process.pid && isAlive(Number(pid)))
  )
    return undefined
  return { home }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    return errorCode(cause) !== 'ESRCH'
  }
}

/**
 * Until the function returned is called, SIGINT and SIGTERM remove the draft before they take their usual
 * effect.
 */
function onSignals(draft: Draft, interrupt: AbortController): () => void {
  const handle = (signal: NodeJS.Signals) => {
    release()
    interrupt.abort(new FormatError(`save: the process must not be interrupted; received ${signal}`))
    draft.discardNow()
    // A program that handles the signal itself has heard of it and decides; else the default is to end.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
  }
  const release = () => {
    process.off('SIGINT', handle)
    process.off('SIGTERM', handle)
  }
  process.on('SIGINT', handle)
  process.on('SIGTERM', handle)
  return release
}

/**
 * Makes a folder and those around it. Node's own `recursive` never ends where the system makes none, as in
 * /proc.
 */
async function makeFolders(path: string): Promise<void> {
  try {
    await mkdir(path)
  } catch (cause) {
    const code = errorCode(cause)
    if (code === 'ENOENT' && dirname(path) !== path) {
      await makeFolders(dirname(path))
      await mkdir(path).catch(allowExisting)
    } else if (!(await stat(path)).isDirectory()) throw cause
  }
}

/** Another process may have made it at this moment. */
function allowExisting(cause: unknown): void {
  if (errorCode(cause) !== 'EEXIST') throw cause
}

/** Makes the names in a folder durable; Windows has no such call and refuses to open one. */
async function flushFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
