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

/** A chart that can be drawn in any colours. */
export interface Chart extends ChartText {
  /** The picture as an SVG document. */
  draw(palette: Palette): string
}

/** Colours that a page's style sheet sets, light or dark. */
export const pagePalette: Palette = {
  text: 'var(--text)',
  muted: 'var(--muted)',
  grid: 'var(--grid)',
  series: [1, 2, 3, 4, 5, 6, 7, 8].map((i) => `var(--series-${i})`),
}

/**
 * Colours of files, on white; told apart by those who do not see red or green, too.
 * Source: M. Okabe and K. Ito, "Color Universal Design", 2008; its yellow is darker here.
 */
export const lightPalette: Palette = {
  text: '#1f2328',
  muted: '#59636e',
  grid: '#d8dee4',
  series: ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#b58900', '#56b4e9', '#7f3fbf', '#444444'],
}

/** The same on black. */
export const darkPalette: Palette = {
  text: '#e6edf3',
  muted: '#9198a1',
  grid: '#3d444d',
  series: ['#56b4e9', '#ff9d5c', '#3ddc97', '#e59ac5', '#f0e442', '#8ab4f8', '#c297ff', '#bbbbbb'],
}

/** Options of Plot that charts differ in. */
export interface PlotOptions {
  height: number
  marginLeft?: number
  marginRight?: number
  marginBottom?: number
  x: object
  y: object
  color?: object
  marks: Mark[]
}

const width = 760

/** A picture of the width of a page, with the legend of its colours above. */
export function drawPlot(
  { Plot, document }: Plotting,
  { title }: ChartText,
  palette: Palette,
  { series, ...options }: PlotOptions & { series?: readonly string[] },
): string {
  const shown = series && series.length > 1 ? series : []
  const legend = shown.length > 0 ? legendHeight : 0
  const svg = Plot.plot({
    document,
    width,
    marginTop: 16 + legend,
    style: { background: 'none', color: palette.text, fontFamily: 'system-ui, sans-serif', fontSize: '12px' },
    ariaLabel: title,
    ...options,
    height: options.height + legend,
    color: { type: 'categorical', domain: series ?? [], range: palette.series.slice() },
  })
  const text = svg
    .toString()
    .replace(/^<svg /, '<svg xmlns="http://www.w3.org/2000/svg" role="img" ')
    .replace(/<\/svg>$/, `${legendOf(shown, palette)}</svg>`)
  return text
}

const legendHeight = 24

function legendOf(series: readonly string[], palette: Palette): string {
  let x = 4
  return series
    .map((name, i) => {
      const entry = `<rect x="${x}" y="4" width="11" height="11" rx="2" fill="${palette.series[i]}"/><text x="${x + 16}" y="14" fill="${palette.text}">${escapeText(name)}</text>`
      x += 34 + name.length * 6.6
      return entry
    })
    .join('')
}

/** Text as XML and HTML write it. */
export function escapeText(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
}
