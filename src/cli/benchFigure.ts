import { type BenchRow, shortNames } from './benchTable.ts'
import type { Chart } from './charts/chart.ts'
import { groupedBars } from './charts/groupedBars.ts'
import type { Plotting } from './charts/plotting.ts'
import { stacked } from './charts/stacked.ts'

/** Reading and writing, in tokens per second: a bar for each model, grouped by batch size and length. */
export function benchFigure(plotting: Plotting, rows: readonly BenchRow[]): Chart {
  const names = shortNames(rows.map(({ model }) => model))
  const sizes = new Set(rows.map(sizeOf))
  const part = (name: string, title: string, value: (row: BenchRow) => number) =>
    groupedBars(plotting, {
      name,
      title,
      caption: '',
      unit: 'tokens per second',
      rows: [...sizes].flatMap((size) =>
        rows.flatMap((row, i) => {
          const group = sizes.size > 1 ? size : ''
          return sizeOf(row) === size
            ? [{ group, label: names[i], value: value(row), text: rate(value(row)) }]
            : []
        }),
      ),
    })
  const title = 'Prefill and decode'
  return stacked({ name: 'bench', title, caption: '' }, [
    part('prefill', `Prefill: ${only(sizes, 'reading prompts')}`, (row) => row.prefillTokensPerSecond),
    part(
      'decode',
      `Decode: ${rows[0].newTokens} new tokens for each sequence`,
      (row) => row.decodeTokensPerSecond,
    ),
  ])
}

function sizeOf({ batchSize, promptTokens }: BenchRow): string {
  return `batch of ${batchSize}, prompts of ${promptTokens} tokens`
}

/** What is the same for all, else other words. */
function only(sizes: ReadonlySet<string>, words: string): string {
  return sizes.size > 1 ? words : [...sizes][0]
}

function rate(tokens: number): string {
  return tokens < 100 ? tokens.toFixed(1) : tokens.toFixed(0)
}
