import { fromZero, labelWidth } from './bars.ts'
import { type Chart, type ChartText, drawPlot } from './chart.ts'
import type { Plotting } from './plotting.ts'

/** One bar of a group. */
export interface GroupedBar {
  /** What stands above the bars of the group; '' for no heading. */
  group: string
  /** What stands beside it: bars of one label have one colour in all groups. */
  label: string
  /** NaN for what could not be measured: no bar then, and a dash. */
  value: number
  /** What stands at its end; default: the value in three digits. */
  text?: string
}

/** Of a bar that is cut, as shares of its length: where the gap lies that shows it. */
const gap = [0.93, 0.95] as const

/**
 * Groups of bars from the left, in the order of the rows: put first what others are compared with.
 * @param most bars that would be longer are cut there, with a gap before their end
 */
export function groupedBars(
  plotting: Plotting,
  {
    unit,
    most = Infinity,
    rows,
    ...text
  }: ChartText & { unit: string; most?: number; rows: readonly GroupedBar[] },
): Chart {
  const { Plot } = plotting
  const labels = [...new Set(rows.map(({ label }) => label))]
  const lines = linesOf(rows)
  const ends = lines.flatMap(({ place, label, row }) => (row ? [{ place, label, ...endOf(row, most) }] : []))
  const pieces = ends.flatMap(({ place, label, value, end }) =>
    value > most
      ? [
          { place, label, from: 0, to: gap[0] * end },
          { place, label, from: gap[1] * end, to: end },
        ]
      : [{ place, label, from: 0, to: end }],
  )
  return {
    ...text,
    draw: (palette, width) =>
      drawPlot(plotting, text, palette, {
        width,
        labelHeight: 0,
        height: 54 + 22 * lines.length,
        marginLeft: labelWidth(labels, width),
        marginRight: 20 + Math.max(...ends.map((end) => end.text.length)) * 7,
        marginBottom: 40,
        series: labels,
        legend: false,
        x: { ...fromZero(ends.map(({ end }) => end)), label: unit, grid: true, tickSpacing: 70 },
        y: {
          domain: lines.map(({ place }) => place),
          label: null,
          padding: 0.25,
          tickSize: 0,
          tickFormat: (_: string, i: number) => lines[i].label,
        },
        marks: [
          Plot.barX(pieces, { x1: 'from', x2: 'to', y: 'place', fill: 'label' }),
          Plot.text(ends, { x: 'end', y: 'place', text: 'text', dx: 5, textAnchor: 'start' }),
          Plot.text(
            lines.filter(({ heading }) => heading),
            {
              frameAnchor: 'left',
              y: 'place',
              text: 'heading',
              dx: 5,
              dy: 3,
              textAnchor: 'start',
              fontWeight: 600,
            },
          ),
          Plot.ruleX([0], { stroke: palette.muted }),
        ],
      }),
  }
}

/** Where a bar ends, and what it says there. */
function endOf({ value, text = String(Number(value.toPrecision(3))) }: GroupedBar, most: number) {
  return Number.isFinite(value)
    ? { value, end: Math.min(value, most), text }
    : { value: 0, end: 0, text: '–' }
}

/** A line of the chart, by its place: a bar, or before those of a group its heading. */
interface Line {
  place: string
  label: string
  heading?: string
  row?: GroupedBar
}

/** Lines of the chart from above. */
function linesOf(rows: readonly GroupedBar[]): Line[] {
  const groups = [...new Set(rows.map(({ group }) => group))]
  const lines = groups.flatMap((group): Omit<Line, 'place'>[] => [
    ...(group ? [{ label: '', heading: group }] : []),
    ...rows.filter((row) => row.group === group).map((row) => ({ label: row.label, row })),
  ])
  return lines.map((line, i) => ({ ...line, place: `${i}` }))
}
