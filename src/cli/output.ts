import type { SingleBar } from 'cli-progress'
import { DeviceError, DTypeError, FormatError, ShapeError } from '../core/errors.ts'

/** Prints one JSON document. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

/** Ends with exit code 1 and one line that says what is wrong. */
export function fail(error: unknown): void {
  process.stderr.write(`lowbit: ${oneLine(describe(error))}\n`)
  process.exitCode = 1
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const ours = [ShapeError, DTypeError, FormatError, DeviceError].some((kind) => error instanceof kind)
  return ours ? error.message : `internal fault, please report it: ${error.name}: ${error.message}`
}

/** Prints what commander says about wrong usage, on one line. */
export function printUsageError(text: string, write: (text: string) => void): void {
  write(`lowbit: ${oneLine(text.replace(/^error: /, ''))}\n`)
}

/**
 * Without line breaks, and without the control characters by which a hostile file could speak to the
 * terminal.
 */
function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  return text.trim().replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, ' ')
}

/**
 * Ends quietly when the reader of stdout has gone (`lowbit inspect … | head`), with one line when stdout
 * takes no more.
 */
export function watchStreams(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE')
      fail(new FormatError(`stdout: must take what is printed; it refuses (${error.code})`))
    process.exit()
  })
  // Nobody is left to be told.
  process.stderr.on('error', () => {})
}

/** A bar on stderr, on a terminal only and not beside JSON, that appears with the first progress. */
export async function progressBar(
  label: string,
  options: { json?: boolean },
): Promise<{ update(done: number, total: number, note?: string): void; stop(): void }> {
  if (options.json || !process.stderr.isTTY) return { update() {}, stop() {} }
  const { SingleBar, Presets } = await import('cli-progress')
  let bar: SingleBar | undefined
  return {
    update(done, total, note = '') {
      if (!bar) {
        const format = `${label.padEnd(8)} {bar} {percentage} %  {eta_formatted} left  {note}`
        bar = new SingleBar(
          { format, clearOnComplete: true, hideCursor: null, linewrap: true },
          Presets.shades_classic,
        )
        bar.start(total, 0, { note })
      }
      bar.setTotal(total)
      bar.update(done, { note })
    },
    stop: () => bar?.stop(),
  }
}

/** One column of a table: its heading, and whether it holds numbers, which stand at the right. */
export interface Column {
  head: string
  numeric?: boolean
}

/** Prints a table without lines. */
export async function printTable(columns: Column[], rows: string[][]): Promise<void> {
  const { default: Table } = await import('cli-table3')
  const names = ['top', 'bottom', 'left', 'right', 'mid'].flatMap((side) => [
    side,
    `${side}-mid`,
    `${side}-left`,
    `${side}-right`,
  ])
  const table = new Table({
    head: columns.map(({ head }) => head),
    chars: { ...Object.fromEntries(names.map((name) => [name, ''])), middle: '  ' },
    colAligns: columns.map(({ numeric }) => (numeric ? 'right' : 'left')),
    style: { head: process.stdout.isTTY ? ['bold'] : [], border: [], 'padding-left': 0, 'padding-right': 0 },
  })
  table.push(...rows)
  process.stdout.write(`${table.toString().replace(/[ \t]+$/gm, '')}\n`)
}

/** `442 kB`, `1.30 GB`: decimal units, three digits. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const unit = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1)
  const value = bytes / 1000 ** unit
  return `${unit === 0 || value >= 999.5 ? value.toFixed(0) : value.toPrecision(3)} ${units[unit]}`
}

/** `292,800` */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US')
}
