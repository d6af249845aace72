import { basename } from 'node:path'
import type { BenchResult } from '../evaluate/bench.ts'
import { formatBytes, printJson, printTable } from './output.ts'

/** How a list of measurements is printed. */
export type BenchFormat = 'table' | 'markdown' | 'csv' | 'json'

/** One measurement: of a model, a batch size and a length. */
export interface BenchRow extends BenchResult {
  model: string
  /** Whether products of the same input were computed as one. */
  fused: boolean
  loadMs: number
}

const columns: readonly { head: string; value: (row: BenchRow) => string }[] = [
  { head: 'Batch', value: ({ batchSize }) => `${batchSize}` },
  { head: 'Prompt', value: ({ promptTokens }) => `${promptTokens}` },
  { head: 'New', value: ({ newTokens }) => `${newTokens}` },
  { head: 'Prefill tok/s', value: (row) => row.prefillTokensPerSecond.toFixed(1) },
  { head: 'Decode tok/s', value: (row) => row.decodeTokensPerSecond.toFixed(1) },
  { head: 'Forward ms', value: ({ forwardMs }) => forwardMs.toFixed(1) },
  { head: 'First token ms', value: ({ firstTokenMs }) => firstTokenMs.toFixed(1) },
  { head: 'ms/token', value: ({ msPerToken }) => msPerToken.toFixed(2) },
  { head: 'Weights', value: ({ weightBytes }) => formatBytes(weightBytes) },
  { head: 'Forward peak', value: ({ forwardPeakBytes }) => formatBytes(forwardPeakBytes) },
  { head: 'Generate peak', value: ({ generatePeakBytes }) => formatBytes(generatePeakBytes) },
]

/** Prints measurements, a line each; CSV and JSON have all figures, unrounded. */
export async function printRows(rows: readonly BenchRow[], format: BenchFormat): Promise<void> {
  if (format === 'json') return printJson(rows)
  if (format === 'csv') return printLines(csvLines(rows))
  const names = shortNames(rows.map(({ model }) => model)).map((name, i) =>
    rows[i].fused ? `${name}, fused` : name,
  )
  const cells = rows.map((row, i) => [names[i], ...columns.map(({ value }) => value(row))])
  const heads = ['Model', ...columns.map(({ head }) => head)]
  if (format === 'table')
    return printTable(
      heads.map((head, i) => ({ head, numeric: i > 0 })),
      cells,
    )
  const line = (values: readonly string[]) => `| ${values.join(' | ')} |`
  printLines([
    line(heads),
    line(heads.map((_, i) => (i === 0 ? '---' : '---:'))),
    ...cells.map(([model, ...rest]) => line([model.replaceAll('|', '\\|'), ...rest])),
  ])
}

function csvLines(rows: readonly BenchRow[]): string[] {
  const names = Object.keys(rows[0]) as (keyof BenchRow)[]
  return [names, ...rows.map((row) => names.map((name) => row[name]))].map((values) =>
    values.map((value) => csvField(`${value}`)).join(','),
  )
}

/** A field as RFC 4180 has it. */
function csvField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** The last part of each path, where that tells the models from each other. */
export function shortNames(paths: readonly string[]): readonly string[] {
  const names = paths.map((path) => basename(path))
  return new Set(names).size === new Set(paths).size ? names : paths
}

function printLines(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`)
}
