import { type Chart, type ChartText, drawPlot } from './chart.ts'
import type { Plotting } from './plotting.ts'

/** One dot. */
export interface Dot {
  x: number | string
  y: number
  series?: string
  /** What stands above it, or below. */
  label?: string
  below?: boolean
}

/** An axis: what it measures, and whether its ticks are powers. */
export interface Axis {
  label: string
  log?: boolean
}

/**
 * Dots over numbers, or over words in their order; those of a series in one colour, joined by a line if that
 * is asked for. On an axis of powers what is not above 0 is left out.
 */
export function dots(
  plotting: Plotting,
  { x, y, joined, rows, ...text }: ChartText & { x: Axis; y: Axis; joined?: boolean; rows: readonly Dot[] },
): Chart {
  const { Plot } = plotting
  const shown = rows.filter((row) => fits(y, row.y) && (typeof row.x === 'string' || fits(x, row.x)))
  const words = [...new Set(shown.flatMap((row) => (typeof row.x === 'string' ? [row.x] : [])))]
  const series = [...new Set(rows.map((row) => row.series ?? ''))]
  const scaleX =
    words.length > 0
      ? { type: 'point', domain: words, label: x.label, tickRotate: 0, ticks: every(words) }
      : { type: x.log ? 'log' : 'linear', label: x.label, grid: true, nice: true, tickSpacing: 90 }
  return {
    ...text,
    draw: (palette) =>
      drawPlot(plotting, text, palette, {
        height: 280,
        marginLeft: 64,
        marginRight: 40,
        marginBottom: 42,
        series,
        x: scaleX,
        y: { type: y.log ? 'log' : 'linear', label: y.label, grid: true, nice: true, ...decades(y, shown) },
        marks: [
          ...(joined
            ? [Plot.line(shown, { x: 'x', y: 'y', stroke: seriesOf, strokeWidth: 1.5, strokeOpacity: 0.7 })]
            : []),
          Plot.dot(shown, { x: 'x', y: 'y', fill: seriesOf, r: joined ? 2.5 : 4 }),
          ...[true, false].map((below) =>
            Plot.text(
              shown.filter((row) => row.label && (row.below ?? false) === below),
              { x: 'x', y: 'y', text: 'label', dy: below ? 14 : -12 },
            ),
          ),
        ],
      }),
  }
}

const seriesOf = (row: Dot) => row.series ?? ''

function fits({ log }: Axis, value: number): boolean {
  return Number.isFinite(value) && (!log || value > 0)
}

/** Ticks of whole powers of ten, where there are at least two. */
function decades({ log }: Axis, rows: readonly Dot[]): { ticks?: number[]; tickFormat?: string } {
  if (!log || rows.length === 0) return {}
  const values = rows.map((row) => row.y)
  const [low, high] = [Math.min(...values), Math.max(...values)].map(Math.log10)
  const powers = Array.from(
    { length: Math.floor(high) - Math.ceil(low) + 1 },
    (_, i) => 10 ** (Math.ceil(low) + i),
  )
  return powers.length < 2 ? { tickFormat: '~g' } : { ticks: powers, tickFormat: '~g' }
}

/** At most some twelve of the words. */
function every(words: readonly string[]): string[] {
  const step = Math.ceil(words.length / 12)
  return words.filter((_, i) => i % step === 0)
}
