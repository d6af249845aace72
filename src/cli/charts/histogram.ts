import { type Chart, type ChartText, drawPlot } from './chart.ts'
import type { Plotting } from './plotting.ts'

/** How many values lie between two edges. */
export interface Bin {
  from: number
  to: number
  count: number
  series?: string
}

/** `20k` for 20,000. */
function shortCount(count: number): string {
  return count < 1000 ? `${count}` : `${count / 1000}k`
}

/**
 * Counts of values over their range; series stand upon one another. Heights are square roots of counts, so
 * that rare values can be seen.
 */
export function histogram(
  plotting: Plotting,
  {
    label,
    bins,
    marks,
    ...text
  }: ChartText & { label: string; bins: readonly Bin[]; marks: readonly number[] },
): Chart {
  const { Plot } = plotting
  return {
    ...text,
    draw: (palette, width) =>
      drawPlot(plotting, text, palette, {
        width,
        height: 192,
        marginLeft: 64,
        marginRight: 20,
        marginBottom: 40,
        series: [...new Set(bins.map((bin) => bin.series ?? ''))],
        x: { label, tickSpacing: 70 },
        y: { type: 'sqrt', label: 'weights', grid: true, ticks: 4, tickFormat: shortCount },
        marks: [
          Plot.rectY(bins, {
            x1: 'from',
            x2: 'to',
            y: 'count',
            fill: (bin: Bin) => bin.series ?? '',
            insetLeft: 0.5,
            insetRight: 0.5,
          }),
          Plot.ruleX(marks, { stroke: palette.text, strokeDasharray: '4 3' }),
          Plot.ruleY([0], { stroke: palette.muted }),
        ],
      }),
  }
}
