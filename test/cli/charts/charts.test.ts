import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { bars } from '../../../src/cli/charts/bars.ts'
import { lightPalette, pagePalette } from '../../../src/cli/charts/chart.ts'
import { dots } from '../../../src/cli/charts/dots.ts'
import { writeCharts } from '../../../src/cli/charts/files.ts'
import { chartPage } from '../../../src/cli/charts/page.ts'
import { loadPeer, loadPlotting, type Plotting } from '../../../src/cli/charts/plotting.ts'

const folder = mkdtempSync(join(tmpdir(), 'lowbit-charts-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const text = { name: 'chart', title: 'A & B', caption: 'Of <two> things.' }
const rows = [
  { label: 'float', value: 100 },
  { label: 'a & <b>', value: 25 },
]

describe('charts', () => {
  let plotting: Plotting
  before(async () => {
    plotting = await loadPlotting()
  })

  test('bars are as long as their values, in their order', () => {
    const svg = bars(plotting, { ...text, unit: 'MB', rows }).draw(lightPalette)
    const widths = [...svg.matchAll(/<rect [^>]*y="([\d.]+)" width="([\d.]+)"/g)].map(([, y, width]) => [
      Number(y),
      Number(width),
    ])
    assert.equal(widths.length, 2)
    assert.ok(widths[0][0] < widths[1][0])
    assert.ok(Math.abs(widths[0][1] / widths[1][1] - 4) < 1e-3, svg)
    assert.ok(svg.indexOf('float') < svg.indexOf('a &amp; &lt;b'))
  })

  test('what is not above 0 is not on an axis of powers', () => {
    const axis = { x: { label: 'layer' }, y: { label: 'KL', log: true } }
    const values = [0.001, 0, 1, Number.NaN].map((y, i) => ({ x: String(i), y }))
    const svg = dots(plotting, { ...text, ...axis, rows: values }).draw(lightPalette)
    assert.equal(svg.match(/<circle/g)?.length, 2)
  })

  test('files: SVG that stands alone, and PNG of twice its size', async () => {
    const paths = await writeCharts(folder, [bars(plotting, { ...text, unit: 'MB', rows })])
    assert.deepEqual(paths, [join(folder, 'chart.svg'), join(folder, 'chart.png')])
    const svg = readFileSync(paths[0], 'utf8')
    assert.match(svg, /^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/)
    assert.doesNotMatch(svg, /var\(/)
    const png = readFileSync(paths[1])
    assert.equal(png.toString('latin1', 1, 4), 'PNG')
    assert.equal(png.readUInt32BE(16), 2 * 760)
  })

  test('a page holds all it shows, has both styles, and writes no text as markup', () => {
    const chart = bars(plotting, { ...text, unit: 'MB', rows })
    const page = chartPage('<model>', 'lead', [{ title: 'Size', charts: [chart] }])
    assert.match(page, /prefers-color-scheme: dark/)
    assert.match(page, /@media print/)
    assert.match(page, new RegExp(pagePalette.series[0].replace(/[()]/g, '\\$&')))
    assert.doesNotMatch(page, /<model>|<two>|<script|src=|href=/)
  })

  test('a package that is missing is named, with the command that installs it', async () => {
    await assert.rejects(
      loadPeer('@lowbit/none'),
      /@lowbit\/none must be installed.*npm install @observablehq\/plot linkedom @resvg\/resvg-js/,
    )
  })
})
