import { type Chart, type ChartText, drawPlot, pageWidth } from './chart.ts'
import type { Plotting } from './plotting.ts'

/** One bar, or one part of it. */
export interface Bar {
  label: string
  value: number
  /** Parts of one label stand behind one another, in the colours of their series. */
  series?: string
  /** What stands at its end; default: the value in three digits. */
  text?: string
}

/** Bars from the left, in the order of the rows: put first what others are compared with. */
export function bars(
  plotting: Plotting,
  { unit, rows, ...text }: ChartText & { unit: string; rows: readonly Bar[] },
): Chart {
  const { Plot } = plotting
  const labels = [...new Set(rows.map(({ label }) => label))]
  const series = [...new Set(rows.map((row) => row.series ?? ''))]
  const ends = labels.map((label) => {
    const parts = rows.filter((row) => row.label === label)
    const value = parts.reduce((sum, part) => sum + finite(part.value), 0)
    const known = parts.some((part) => Number.isFinite(part.value))
    return { label, value, text: parts[0].text ?? (known ? String(Number(value.toPrecision(3))) : '–') }
  })
  return {
    ...text,
    draw: (palette, width) =>
      drawPlot(plotting, text, palette, {
        width,
        labelHeight: 0,
        height: 54 + 22 * labels.length,
        marginLeft: labelWidth(labels, width),
        marginRight: 20 + Math.max(...ends.map((end) => end.text.length)) * 7,
        marginBottom: 40,
        series,
        x: { ...fromZero(ends.map(({ value }) => value)), label: unit, grid: true, tickSpacing: 70 },
        y: { domain: labels, label: null, padding: 0.25 },
        marks: [
          Plot.barX(rows, {
            x: (row: Bar) => finite(row.value),
            y: 'label',
            fill: (row: Bar) => row.series ?? '',
            insetRight: series.length > 1 ? 0.5 : 0,
          }),
          Plot.text(ends, { x: 'value', y: 'label', text: 'text', dx: 5, textAnchor: 'start' }),
          Plot.ruleX([0], { stroke: palette.muted }),
        ],
      }),
  }
}

function finite(value: number): number {
  return Number.isFinite(value) ? value : 0
}

/** The axis of lengths: from 0 to the longest, or to 1 where all are 0. */
export function fromZero(values: readonly number[]): { domain: [number, number] } {
  return { domain: [0, Math.max(...values) || 1] }
}

/** Room for labels at the left, at most half of the picture. */
export function labelWidth(labels: readonly string[], width: number = pageWidth): number {
  return Math.min(width / 2, 16 + Math.max(...labels.map((label) => label.length)) * 7.2)
}
