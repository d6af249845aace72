import type { Mark, Plotting } from './plotting.ts'

/** The colours of a chart, as SVG writes them. */
export interface Palette {
  text: string
  muted: string
  grid: string
  /** Of series, in their order. */
  series: readonly string[]
}

/** What a chart says beside its picture. */
export interface ChartText {
  /** Of its file, without an ending. */
  name: string
  title: string
  caption: string
}

/** A chart that can be drawn in any colours, and in any width. */
export interface Chart extends ChartText {
  /** The picture as an SVG document; its width is in pixels, `pageWidth` by default. */
  draw(palette: Palette, width?: number): string
}

/** What a page has on a desk, and what it has on a phone. */
export const [pageWidth, phoneWidth] = [760, 350] as const

/** Colours that a page's style sheet sets, light or dark. */
export const pagePalette: Palette = {
  text: 'var(--text)',
  muted: 'var(--muted)',
  grid: 'var(--grid)',
  series: Array.from({ length: 12 }, (_, i) => `var(--series-${i + 1})`),
}

/**
 * Colours of files, on white; told apart by those who do not see red or green, too.
 * Source: M. Okabe and K. Ito, "Color Universal Design", 2008; its yellow is darker here.
 */
export const lightPalette: Palette = {
  text: '#1f2328',
  muted: '#59636e',
  grid: '#d8dee4',
  series: [
    '#0072b2',
    '#d55e00',
    '#009e73',
    '#cc79a7',
    '#b58900',
    '#56b4e9',
    '#7f3fbf',
    '#444444',
    '#9c2f5f',
    '#0f6b3a',
    '#6b7fd7',
    '#8c6d3f',
  ],
}

/** The same on black. */
export const darkPalette: Palette = {
  text: '#e6edf3',
  muted: '#9198a1',
  grid: '#3d444d',
  series: [
    '#56b4e9',
    '#ff9d5c',
    '#3ddc97',
    '#e59ac5',
    '#f0e442',
    '#8ab4f8',
    '#c297ff',
    '#bbbbbb',
    '#ff7fae',
    '#7fd6a4',
    '#5f7fe0',
    '#d9b98a',
  ],
}

/** Options of Plot that charts differ in. */
export interface PlotOptions {
  /** Of the picture, in pixels. */
  width?: number
  /** Without the legend. */
  height: number
  /** Room above for the label of the axis upwards; 0 for none. */
  labelHeight?: number
  marginLeft?: number
  marginRight?: number
  marginBottom?: number
  x: object
  y: object
  /** Of marks that are filled by it, in the order of their colours; '' has no name. */
  series?: readonly string[]
  /** Whether a legend says which colour is whose; default: yes. */
  legend?: boolean
  marks: Mark[]
}

/** A picture of the width of a page, with the legend of its colours above. */
export function drawPlot(
  { Plot, document }: Plotting,
  { title }: ChartText,
  palette: Palette,
  { width = pageWidth, labelHeight = 18, series = [], legend: named = true, ...options }: PlotOptions,
): string {
  const legend = legendOf(named ? series.filter((name) => name !== '') : [], palette, width, labelHeight)
  const svg = Plot.plot({
    document,
    width,
    style: { background: 'none', color: palette.text, fontFamily: 'system-ui, sans-serif', fontSize: '12px' },
    ...options,
    marginTop: labelHeight + legend.height + 10,
    height: options.height + labelHeight + legend.height,
    color: { type: 'categorical', domain: series, range: palette.series.slice() },
  })
  return svg
    .toString()
    .replace(
      /^<svg /,
      `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${escapeText(title)}" `,
    )
    .replace(/<\/svg>$/, `${legend.svg}</svg>`)
}

const legendRow = 20
/** About that of most letters. */
const letterWidth = 6.8

/** Names of series beside their colours, in as many rows as they take, from `top` downwards. */
function legendOf(
  series: readonly string[],
  palette: Palette,
  width: number,
  top: number,
): { svg: string; height: number } {
  let [x, y] = [4, top]
  const entries = series.map((name, i) => {
    const entryWidth = 34 + name.length * letterWidth
    if (x + entryWidth > width && x > 4) [x, y] = [4, y + legendRow]
    const colour = palette.series[i % palette.series.length]
    const entry = `<rect x="${x}" y="${y}" width="11" height="11" rx="2" fill="${colour}"/><text x="${x + 16}" y="${y + 10}" text-anchor="start" fill="${palette.text}">${escapeText(name)}</text>`
    x += entryWidth
    return entry
  })
  return { svg: entries.join(''), height: series.length > 0 ? y + legendRow - top : 0 }
}

/** Text as XML and HTML write it. */
export function escapeText(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
}
