import {
  type Chart,
  darkPalette,
  escapeText,
  lightPalette,
  type Palette,
  pagePalette,
  phoneWidth,
} from './chart.ts'

/** A column: its heading, and whether it holds numbers, or sentences that are broken where they do not fit. */
export interface PageColumn {
  head: string
  numeric?: boolean
  long?: boolean
}

/** Figures in words, rows in their order. */
export interface PageTable {
  columns: readonly PageColumn[]
  rows: readonly (readonly string[])[]
  caption?: string
}

/** A part of a page under one heading. */
export interface PageSection {
  title: string
  text?: string
  charts?: readonly Chart[]
  tables?: readonly PageTable[]
}

/**
 * One HTML file that holds all it shows and asks for nothing else: light or dark as the reader's system is,
 * light on paper.
 */
export function chartPage(title: string, lead: string, sections: readonly PageSection[]): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeText(title)}</title>
<style>
${styles}
</style>
</head>
<body>
<main>
<h1>${escapeText(title)}</h1>
<p class="lead">${escapeText(lead)}</p>
${sections.map(sectionHtml).join('\n')}
</main>
</body>
</html>
`
}

function sectionHtml({ title, text, charts = [], tables = [] }: PageSection): string {
  const said = text === undefined ? '' : `<p>${escapeText(text)}</p>\n`
  const figures = charts.map((chart) => {
    const { name, caption } = chart
    const heading = chart.title === title ? '' : `<h3>${escapeText(chart.title)}</h3>\n`
    return `<figure id="${escapeText(name)}">\n${heading}${pictures(chart)}\n<figcaption>${escapeText(caption)}</figcaption>\n</figure>`
  })
  const all = [...figures, ...tables.map(tableHtml)]
  return `<section>\n<h2>${escapeText(title)}</h2>\n${said}${all.join('\n')}\n</section>`
}

/** Drawn for a desk and for a phone; the style sheet shows the one that fits. */
function pictures(chart: Chart): string {
  const named = (name: string, svg: string) => svg.replace(/^<svg /, `<svg data-for="${name}" `)
  return `${named('desk', chart.draw(pagePalette))}\n${named('phone', chart.draw(pagePalette, phoneWidth))}`
}

function tableHtml({ columns, rows, caption }: PageTable): string {
  const cell = (tag: string, text: string, i: number) =>
    `<${tag}${classOf(columns[i])}>${broken(text)}</${tag}>`
  const head = columns.map((column, i) => cell('th', column.head, i)).join('')
  const body = rows.map((row) => `<tr>${row.map((text, i) => cell('td', text, i)).join('')}</tr>`).join('\n')
  const said = caption === undefined ? '' : `<caption>${escapeText(caption)}</caption>\n`
  return `<div class="table"><table>\n${said}<thead><tr>${head}</tr></thead>\n<tbody>\n${body}\n</tbody>\n</table></div>`
}

/** Text in which paths may be broken after a point. */
function broken(text: string): string {
  return escapeText(text).replace(/\.(?=[a-z_])/gi, '.<wbr>')
}

function classOf({ numeric, long }: PageColumn): string {
  return numeric ? ' class="numeric"' : long ? ' class="long"' : ''
}

/** What a style sheet sets for `pagePalette`. */
export function paletteVariables({ text, muted, grid, series }: Palette, background: string): string {
  const colours = series.map((colour, i) => `--series-${i + 1}: ${colour};`).join(' ')
  return `--background: ${background}; --text: ${text}; --muted: ${muted}; --grid: ${grid}; ${colours}`
}

const styles = `:root { ${paletteVariables(lightPalette, '#ffffff')} }
@media screen and (prefers-color-scheme: dark) { :root { ${paletteVariables(darkPalette, '#0d1117')} } }
body { margin: 0; background: var(--background); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 40px 0 8px; padding-top: 12px; border-top: 1px solid var(--grid); }
h3 { font-size: 16px; margin: 20px 0 4px; overflow-wrap: anywhere; }
.lead, figcaption, caption { color: var(--muted); }
figcaption, caption { font-size: 14px; text-align: left; }
caption { caption-side: bottom; padding-top: 6px; }
figure { margin: 12px 0 24px; }
figure svg { display: block; max-width: 100%; height: auto; }
figure svg[data-for=phone] { display: none; }
@media screen and (max-width: 560px) {
  figure svg[data-for=desk] { display: none; }
  figure svg[data-for=phone] { display: block; }
}
.table { overflow-x: auto; margin: 12px 0 24px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 14px 3px 0; text-align: left; border-bottom: 1px solid var(--grid); vertical-align: top; white-space: nowrap; }
th { font-weight: 600; }
td:first-child, .long { min-width: 10em; white-space: normal; overflow-wrap: anywhere; }
.numeric { text-align: right; }
@media print {
  body { font-size: 11pt; }
  main { max-width: none; padding: 0; }
  table { font-size: 8.5pt; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}`
