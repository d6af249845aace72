import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { openDevice } from '../../src/devices/open.ts'
import type { Row } from './report.ts'

/**
 * What the name of a table ends in: nothing where the widest instruction set was measured, else that of this
 * machine. A run on one machine so never replaces what another one gave.
 */
export async function resultsSuffix(): Promise<string> {
  const device = openDevice('native')
  const isa = device.name.replace('native ', '')
  await device.close()
  return isa === 'avx512' ? '' : `-${isa}`
}

const pathOf = (name: string) => fileURLToPath(new URL(`../results/${name}.json`, import.meta.url))

/** The parts of bench/results/`name`.json; undefined where nothing was recorded. */
export function readResults(name: string): Record<string, Row[]> | undefined {
  const path = pathOf(name)
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Record<string, Row[]>) : undefined
}

export function writeResults(name: string, results: Row[] | Record<string, Row[]>): void {
  writeFileSync(pathOf(name), `${JSON.stringify(results, null, 2)}\n`)
}
