import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'

/** The lines of JSON in a file, none where it is not there. */
export function readLines<T>(path: string): T[] {
  const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
  // What a run was broken off in has no end of line.
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
}

/**
 * `measure` of 0 … count − 1, each kept as a line of a file.
 * @param resume whether lines that are there count; otherwise all is measured anew
 */
export async function measuredLines<T>(
  path: string,
  count: number,
  resume: boolean,
  measure: (index: number) => Promise<T>,
): Promise<T[]> {
  if (!resume) rmSync(path, { force: true })
  mkdirSync(dirname(path), { recursive: true })
  const lines = readLines<T>(path).slice(0, count)
  for (let i = lines.length; i < count; i++) {
    const line = await measure(i)
    lines.push(line)
    appendFileSync(path, `${JSON.stringify(line)}\n`)
    if (i % 10 === 9) console.error(`${path.split('/').at(-1)}: ${i + 1} of ${count}`)
  }
  return lines
}
