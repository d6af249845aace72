import { bitsPerplexity, mostTimes } from './charts/bitsPerplexity.ts'
import { groupedBars } from './charts/groupedBars.ts'
import type { ChartedPage } from './charts/output.ts'
import type { PageSection } from './charts/page.ts'
import type { Plotting } from './charts/plotting.ts'
import { type Column, formatBytes } from './output.ts'
import type { Row } from './sweepRow.ts'

/** One bar chart: what is measured, as a number and as the bar says it. */
interface Metric {
  name: string
  title: string
  caption: string
  unit: string
  value: (row: Row) => number | undefined
  text: (value: number) => string
  /** How many times the float model's bar others may be as long, before they are cut. */
  most?: number
}

const metrics: readonly Metric[] = [
  {
    name: 'perplexity',
    title: 'Perplexity',
    caption: `Lower is better. Bars above ${mostTimes} times the float model's are cut.`,
    unit: 'perplexity',
    value: (row) => row.perplexity,
    text: (value) => (value < 1000 ? value.toFixed(3) : value.toPrecision(4)),
    most: mostTimes,
  },
  {
    name: 'lambada',
    title: 'Lambada accuracy',
    caption: 'Passages whose last word is guessed; higher is better.',
    unit: '%',
    value: ({ lambadaAccuracy }) => lambadaAccuracy && 100 * lambadaAccuracy,
    text: (value) => `${value.toFixed(1)} %`,
  },
  {
    name: 'latency',
    title: 'Latency per token',
    caption: 'Milliseconds for each new token of one text; lower is better.',
    unit: 'ms per token',
    value: (row) => row.msPerToken,
    text: (value) => value.toPrecision(3),
  },
  {
    name: 'memory',
    title: 'Memory',
    caption: 'The peak of a process that loads the model and generates.',
    unit: 'MB',
    value: ({ peakMemoryBytes }) => peakMemoryBytes && peakMemoryBytes / 1e6,
    text: (value) => formatBytes(1e6 * value),
  },
  {
    name: 'size',
    title: 'Size',
    caption: 'All weights as saved, scales included.',
    unit: 'MB',
    value: ({ bytes }) => bytes && bytes / 1e6,
    text: (value) => formatBytes(1e6 * value),
  },
]

/** Charts of a sweep, one for each metric as quanto's benchmarks have them, and bits against perplexity. */
export function sweepPage(
  plotting: Plotting,
  settings: Readonly<Record<string, unknown>>,
  rows: readonly Row[],
  table: { columns: Column[]; rows: string[][] },
): ChartedPage {
  const measured = rows.filter(({ error }) => error === undefined)
  const shown = metrics.filter(({ value }) => measured.some((row) => value(row) !== undefined))
  const failed = rows.flatMap(({ name, error }) => (error === undefined ? [] : [[name, error]]))
  const refusals = { columns: [{ head: 'not measured' }, { head: 'because', long: true }], rows: failed }
  return {
    title: `${settings.model}`,
    lead: leadOf(settings),
    sections: [
      ...shown.map((metric) => section(plotting, metric, measured)),
      bitsAgainstPerplexity(plotting, measured),
      { title: 'Figures', tables: failed.length > 0 ? [table, refusals] : [table] },
    ],
  }
}

function leadOf({ text, lambada, limit, context, promptTokens, newTokens }: Record<string, unknown>): string {
  const windows = context === undefined ? '' : ` in windows of ${context} tokens`
  const passages = limit === undefined ? '' : `, its first ${limit} passages`
  return [
    'The float model and each way to quantize it.',
    `Perplexity of ${text}${windows}${lambada === undefined ? '' : `; last words of ${lambada}${passages}`};`,
    `time and memory of ${newTokens} tokens after a prompt of ${promptTokens}.`,
  ].join(' ')
}

/** Bars of weights for each type of activations, the float model first in each group. */
function section(
  plotting: Plotting,
  { value, text, most, ...said }: Metric,
  rows: readonly Row[],
): PageSection {
  const [float, ...others] = rows
  const groups = [...new Set(others.map(({ activations }) => activations))]
  const reference = value(float)
  const bar = (group: string | null, row: Row) => ({
    group: groups.length > 1 || group !== null ? `activations ${group ?? 'float'}` : '',
    label: labelOf(row),
    value: value(row) ?? Number.NaN,
    text: text(value(row) ?? Number.NaN),
  })
  const grouped = groups.flatMap((group) =>
    [float, ...others.filter(({ activations }) => activations === group)].map((row) => bar(group, row)),
  )
  const chart = groupedBars(plotting, {
    ...said,
    most: most && reference && most * reference,
    rows: groups.length > 0 ? grouped : [bar(null, float)],
  })
  return { title: said.title, charts: [chart] }
}

function labelOf({ weights, algorithm }: Row): string {
  return [weights ?? 'float', algorithm].filter((word) => word !== null).join(', ')
}

function bitsAgainstPerplexity(plotting: Plotting, rows: readonly Row[]): PageSection {
  const caption = 'Bits per weight, scales included, and what they cost: the lower left is best.'
  const dotted = rows.flatMap(({ name, weights, bitsPerWeight, perplexity }) =>
    bitsPerWeight === undefined || perplexity === undefined
      ? []
      : [{ label: name, bitsPerWeight, perplexity, series: weights ?? 'float' }],
  )
  const chart = bitsPerplexity(plotting, 'bits-perplexity', caption, dotted)
  return { title: chart.title, charts: [chart] }
}
