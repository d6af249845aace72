import { randomBytes } from 'node:crypto'
import { open, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FormatError } from '../core/errors.ts'
import { reasonOf } from './file.node.ts'
import type { ScratchFile } from './source.ts'

/**
 * A file that nobody else sees, and that is gone when it is closed, or the process ends.
 * @throws FormatError if the folder does not take it, or the disk has no room for what is written
 */
export async function scratchFile(folder = tmpdir()): Promise<ScratchFile> {
  const path = join(folder, `.lowbit-scratch-${process.pid}-${randomBytes(6).toString('hex')}`)
  const refusal = (rule: string) => (cause: unknown) => {
    throw new FormatError(`scratch file in ${folder}: ${rule}; ${reasonOf(cause)}`, { cause })
  }
  const handle = await open(path, 'wx+').catch(refusal('the folder must take files'))
  // Where files that are open cannot lose their names, it goes when it is closed.
  const unlinked = await unlink(path).then(
    () => true,
    () => false,
  )
  return {
    async write(offset, bytes) {
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesWritten } = await handle
          .write(bytes, done, bytes.byteLength - done, offset + done)
          .catch(refusal('the disk must have room for what is kept between blocks'))
        done += bytesWritten
      }
    },
    async read(offset, into) {
      for (let done = 0; done < into.byteLength; ) {
        const { bytesRead } = await handle.read(into, done, into.byteLength - done, offset + done)
        if (bytesRead === 0)
          throw new FormatError(`scratch file in ${folder}: must keep what was written; it ends`)
        done += bytesRead
      }
    },
    async close() {
      await handle.close()
      if (!unlinked) await unlink(path).catch(() => {})
    },
  }
}
