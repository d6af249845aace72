import { type Chart, type ChartText, drawPlot, pageWidth } from './chart.ts'
import { placeLabels } from './labels.ts'
import type { Mark, Placement, Plotting } from './plotting.ts'

/** One dot. */
export interface Dot {
  x: number | string
  y: number
  series?: string
  /** What is written beside it, where there is room. */
  label?: string
}

/** An axis: what it measures, and of which number its ticks are powers, if they are. */
export interface Axis {
  label: string
  log?: 2 | 10
  /** Of words: how they follow each other; default: as in the rows. */
  order?: readonly string[]
}

/** How far labels may stand above the frame. */
const labelRoom = 8

/**
 * Dots over numbers, or over words in their order; those of a series in one colour, joined by a line if that
 * is asked for. On an axis of powers what is not above 0 is left out.
 * @param series which are named first, so that charts have the same colours; default: as in the rows
 */
export function dots(
  plotting: Plotting,
  {
    x,
    y,
    joined,
    rows,
    series: first = [],
    ...text
  }: ChartText & { x: Axis; y: Axis; joined?: boolean; series?: readonly string[]; rows: readonly Dot[] },
): Chart {
  const { Plot } = plotting
  const shown = rows.filter((row) => fits(y, row.y) && (typeof row.x === 'string' || fits(x, row.x)))
  const present = new Set(shown.flatMap((row) => (typeof row.x === 'string' ? [row.x] : [])))
  const words = [...new Set([...(x.order ?? []), ...present])].filter((word) => present.has(word))
  const series = [...new Set([...first, ...rows.map((row) => row.series ?? '')])]
  const scaleX = (width: number) =>
    words.length > 0
      ? { type: 'point', domain: words, label: x.label, tickRotate: 0, ticks: every(words, width) }
      : {
          ...scaleOf(x),
          tickSpacing: 70,
          ...powers(
            x,
            shown.map((row) => Number(row.x)),
          ),
        }
  return {
    ...text,
    draw: (palette, width = pageWidth) =>
      drawPlot(plotting, text, palette, {
        width,
        height: 262,
        marginLeft: 64,
        marginRight: 40,
        marginBottom: 42,
        series,
        x: scaleX(width),
        y: {
          ...scaleOf(y),
          ...powers(
            y,
            shown.map((row) => row.y),
          ),
        },
        marks: [
          ...(joined
            ? [Plot.line(shown, { x: 'x', y: 'y', stroke: seriesOf, strokeWidth: 1.5, strokeOpacity: 0.7 })]
            : []),
          Plot.dot(shown, { x: 'x', y: 'y', fill: seriesOf, r: joined ? 2.5 : 4 }),
          ...labels(
            plotting,
            shown.filter((row) => row.label),
          ),
        ],
      }),
  }
}

/** A mark of labels that cover no other. */
function labels({ Plot }: Plotting, rows: readonly Dot[]): Mark[] {
  if (rows.length === 0) return []
  const place: Placement = (data, facets, { x, y }, scales, size) => {
    const dotsInPixels = rows.map(({ label = '' }, i) => ({
      x: scales.x(x.value[i]),
      y: scales.y(y.value[i]),
      label,
    }))
    const frame = {
      left: size.marginLeft,
      right: size.width,
      top: size.marginTop - labelRoom,
      bottom: size.height - size.marginBottom,
    }
    const places = placeLabels(dotsInPixels, frame)
    const channel = (axis: 'x' | 'y') => ({
      value: Float64Array.from(places, (middle) => middle?.[axis] ?? Number.NaN),
    })
    return { data, facets, channels: { x: channel('x'), y: channel('y') } }
  }
  return [Plot.text(rows, Plot.initializer({ x: 'x', y: 'y', text: 'label' }, place))]
}

const seriesOf = (row: Dot) => row.series ?? ''

function fits({ log }: Axis, value: number): boolean {
  return Number.isFinite(value) && (!log || value > 0)
}

function scaleOf({ label, log }: Axis): object {
  return { ...(log ? { type: 'log', base: log } : { type: 'linear' }), label, grid: true, nice: true }
}

/** Ticks of whole powers, where there are at least two. */
function powers({ log }: Axis, values: readonly number[]): { ticks?: number[]; tickFormat?: typeof power } {
  if (!log || values.length === 0) return {}
  const [low, high] = [Math.min(...values), Math.max(...values)].map(
    (value) => Math.log2(value) / Math.log2(log),
  )
  const exponents = Array.from(
    { length: Math.floor(high) - Math.ceil(low) + 1 },
    (_, i) => Math.ceil(low) + i,
  )
  return exponents.length < 2
    ? { tickFormat: power }
    : { ticks: exponents.map((exponent) => log ** exponent), tickFormat: power }
}

/** `0.001`, `1e-5`: short enough for the margin. */
function power(value: number): string {
  return value < 1e-3 || value >= 1e6 ? value.toExponential() : String(value)
}

/** As many of the words as there is room for. */
function every(words: readonly string[], width: number): string[] {
  const longest = Math.max(...words.map((word) => word.length))
  const most = Math.max(2, Math.floor(width / Math.max(60, 7 * longest + 12)))
  const step = Math.ceil(words.length / most)
  return words.filter((_, i) => i % step === 0)
}
