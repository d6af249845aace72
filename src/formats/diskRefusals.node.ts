import { FormatError } from '../core/errors.ts'
import { errorCode } from './file.node.ts'

/** What each of the system's codes says of a save. */
const rules: Record<string, string> = {
  ENOSPC: 'the disk must have room for the folder; it is full',
  EDQUOT: 'the disk quota must have room for the folder; it is used up',
  EFBIG: 'the file system must allow files of this size; it does not',
  EACCES: 'the folder around it must be writable; permission denied',
  ENOENT: 'the folder around it must be one that can be made; the system makes none there',
  EPERM: 'the folder around it must be writable; permission denied',
  EROFS: 'the file system must be writable; it is read-only',
  ENOTDIR: 'every part of the path must be a folder; one is a file',
  EEXIST: 'every part of the path must be a folder, and each file be written once; one is there already',
  EBUSY:
    'the folder must be replaceable as a whole; it is in use or a mount point, so name a folder inside it',
  EXDEV: 'the folder must be replaceable as a whole; it is a mount point, so name a folder inside it',
  ENAMETOOLONG: 'the path must be shorter; a name in it is too long',
  EIO: 'the disk must take what is written; it reports a fault',
}

/** The error for what the system refused while `target` was written; what is no refusal stays as it is. */
export function explainRefusal(target: string, cause: unknown): unknown {
  const code = errorCode(cause)
  if (code === undefined) return cause
  const rule = Object.hasOwn(rules, code)
    ? rules[code]
    : `the disk must take the folder; it refuses: ${(cause as Error).message}`
  return new FormatError(`save ${target}: ${rule} (${code})`, { cause })
}
