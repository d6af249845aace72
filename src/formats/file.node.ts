import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { FormatError } from '../core/errors.ts'
import { type ByteSource, checkFileName, checkRange, type Folder, missingFile } from './source.ts'

/** One system call reads at most 2 GiB; a quarter keeps an aborted process responsive. */
const maxReadBytes = 2 ** 29

/**
 * A file on disk, read at positions.
 * @throws FormatError if it is absent or not a regular file.
 */
export async function fileSource(path: string, name = path): Promise<ByteSource> {
  // Asked before opening: opening a pipe would wait for a writer.
  const kind = await stat(path).catch((cause: unknown) => {
    throw new FormatError(`${name}: must be a file that can be read; ${reasonOf(cause)}`, { cause })
  })
  if (!kind.isFile())
    throw new FormatError(
      `${name}: must be a regular file; it is ${kind.isDirectory() ? 'a folder' : 'a device or pipe'}`,
    )
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw new FormatError(`${name}: must be a file that can be read; ${reasonOf(cause)}`, { cause })
  })
  const { size } = await handle.stat()
  return {
    name,
    size,
    async read(offset, length, into) {
      checkRange({ name, size }, offset, length)
      const bytes = into?.subarray(0, length) ?? new Uint8Array(length)
      let done = 0
      while (done < length) {
        const { bytesRead } = await handle.read(
          bytes,
          done,
          Math.min(length - done, maxReadBytes),
          offset + done,
        )
        if (bytesRead === 0) {
          throw new FormatError(
            `${name}: must keep its ${size} bytes while it is read; it ends at ${offset + done}`,
            {
              byteOffset: offset + done,
            },
          )
        }
        done += bytesRead
      }
      return bytes
    },
    close: () => handle.close(),
  }
}

/** The files of a directory on disk. */
export function diskFolder(path: string): Folder {
  return {
    name: path,
    async list() {
      const entries = await readdir(path, { withFileTypes: true }).catch((cause: unknown) => {
        throw new FormatError(`${path}: must be a folder that can be read; ${reasonOf(cause)}`, { cause })
      })
      // Model caches hold links to files.
      return entries
        .filter((entry) => entry.isFile() || entry.isSymbolicLink())
        .map((entry) => entry.name)
        .sort()
    },
    async has(file) {
      checkFileName(path, file)
      try {
        return (await stat(join(path, file))).isFile()
      } catch (cause) {
        if (isAbsent(cause)) return false
        throw new FormatError(`${join(path, file)}: must be a file that can be read; ${reasonOf(cause)}`, {
          cause,
        })
      }
    },
    async open(file) {
      if (!(await this.has(file))) throw missingFile(path, file)
      return fileSource(join(path, file))
    },
  }
}

function isAbsent(cause: unknown): boolean {
  const code = errorCode(cause)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

/** The system's code of a failed call, such as `ENOENT`; undefined for any other error. */
export function errorCode(cause: unknown): string | undefined {
  if (!(cause instanceof Error) || !('code' in cause) || !('syscall' in cause)) return undefined
  return String(cause.code)
}

const reasons: Record<string, string> = {
  ENOENT: 'there is none',
  ENOTDIR: 'part of the path is a file, not a folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a folder',
  ELOOP: 'its links lead in a circle',
  EMFILE: 'too many files are open',
  ENAMETOOLONG: 'the name is too long',
  ENOSPC: 'it is full',
  EDQUOT: 'its quota is used up',
  EROFS: 'it is read-only',
}

/** What the system says, in words where they are known. */
export function reasonOf(cause: unknown): string {
  const code = errorCode(cause) ?? ''
  return Object.hasOwn(reasons, code) ? `${reasons[code]} (${code})` : code || String(cause)
}
