import { addAbortSignal } from 'node:stream'
import { FormatError } from '../core/errors.ts'
import { fileSource } from '../formats/file.node.ts'
import { decodeUtf8 } from '../formats/source.ts'
import { interrupted } from './interrupt.ts'

/** Above this JavaScript has no strings. */
const maxTextBytes = 500_000_000

/**
 * The text of a file, or of stdin where it is called `-`.
 * @throws FormatError if it is empty, too large, or not UTF-8
 */
export async function readTextFile(path: string): Promise<string> {
  const name = path === '-' ? 'stdin' : path
  const text = decodeUtf8(path === '-' ? await readStdin() : await readFile(path), name)
  if (text.trim() !== '') return text
  throw new FormatError(`${name}: the text must have words; it is empty`)
}

async function readFile(path: string): Promise<Uint8Array> {
  const source = await fileSource(path)
  try {
    if (source.size > maxTextBytes) throw tooLarge(path, source.size)
    return await source.read(0, source.size)
  } finally {
    await source.close()
  }
}

async function readStdin(): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of addAbortSignal(interrupted, process.stdin)) {
    chunks.push(chunk)
    size += chunk.length
    if (size > maxTextBytes) throw tooLarge('stdin', size)
  }
  return Buffer.concat(chunks)
}

function tooLarge(name: string, size: number): FormatError {
  return new FormatError(`${name}: the text must have at most ${maxTextBytes} bytes; it has ${size}`)
}
