import { type Chart, type ChartText, escapeText } from './chart.ts'

/** Room for a heading. */
const headingHeight = 30

/** Charts one below the other, each under its title, as one picture. */
export function stacked(text: ChartText, charts: readonly Chart[]): Chart {
  return {
    ...text,
    draw: (palette, asked) => {
      let height = 0
      let width = 0
      const parts = charts.map((chart) => {
        const svg = chart.draw(palette, asked)
        const [own, tall] = ['width', 'height'].map((name) =>
          Number(svg.match(`^<svg [^>]*\\b${name}="(\\d+)"`)?.[1]),
        )
        const heading = `<text x="4" y="${height + 20}" fill="${palette.text}" font-size="15" font-weight="600">${escapeText(chart.title)}</text>`
        const part = `${heading}<svg x="0" y="${height + headingHeight}"${svg.slice('<svg'.length)}`
        height += headingHeight + tall
        width = Math.max(width, own)
        return part
      })
      const style = 'font-family="system-ui, sans-serif"'
      return `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${escapeText(text.title)}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ${style}>${parts.join('')}</svg>`
    },
  }
}
