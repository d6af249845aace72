import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { bars } from '../../../src/cli/charts/bars.ts'
import { lightPalette, pagePalette } from '../../../src/cli/charts/chart.ts'
import { dots } from '../../../src/cli/charts/dots.ts'
import { writeCharts } from '../../../src/cli/charts/files.ts'
import { groupedBars } from '../../../src/cli/charts/groupedBars.ts'
import { placeLabels } from '../../../src/cli/charts/labels.ts'
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

  test('bars of groups stand under their headings, in their order; what is too long is cut', () => {
    const grouped = [
      { group: 'one', label: 'float', value: 10 },
      { group: 'one', label: 'int2', value: 5000 },
      { group: 'two', label: 'float', value: 10 },
      { group: 'two', label: 'int4', value: Number.NaN },
    ]
    const svg = groupedBars(plotting, { ...text, unit: 'MB', most: 40, rows: grouped }).draw(lightPalette)
    const found = [...svg.matchAll(/<rect [^>]*y="([\d.]+)" width="([\d.]+)" x="([\d.]+)"/g)].map((match) =>
      match.slice(1).map(Number),
    )
    // A bar of 40 has 40 / 10 of the length of float's, but for its gap.
    const [float, int2, end, again, none] = found
    assert.ok(Math.abs((end[2] + end[1] - int2[2]) / float[1] - 4) < 1e-3, svg)
    assert.ok(int2[0] === end[0] && int2[2] + int2[1] < end[2])
    assert.deepEqual([again[1], none[1]], [float[1], 0])
    const words = [...svg.matchAll(/>(one|two|5000|–)</g)].map(([, word]) => word)
    assert.deepEqual(words.sort(), ['5000', 'one', 'two', '–'].sort())
    const [height, ofOne] = [/>one</, />two</].map((heading) => svg.search(heading))
    assert.ok(height < ofOne)
  })

  test('bars of nothing but zeros have no length', () => {
    const zeros = rows.map((row) => ({ ...row, value: 0 }))
    const svg = bars(plotting, { ...text, unit: '%', rows: zeros }).draw(lightPalette)
    assert.equal(svg.match(/<rect [^>]*width="0"/g)?.length, 2)
  })

  test('labels cover neither dots nor one another, and stand beside their own', () => {
    const frame = { left: 0, right: 200, top: 0, bottom: 100 }
    const near = [48, 50, 52].map((y, i) => ({ x: 100, y, label: `label ${i}` }))
    const places = placeLabels(near, frame)
    for (const [i, place] of places.entries()) {
      assert.ok(place && Math.hypot(place.x - 100, place.y - near[i].y) < 50, `${i}`)
      for (const other of places.slice(0, i))
        assert.ok(other && (Math.abs(place.y - other.y) >= 14 || Math.abs(place.x - other.x) >= 7 * 6.6))
    }
    // Where there is room for two lines above and two below, and one at each side, a seventh label is none.
    const many = placeLabels(
      Array.from({ length: 8 }, () => ({ x: 100, y: 50, label: 'label' })),
      frame,
    )
    assert.equal(many.filter((place) => place === null).length, 2)
  })

  test('what is not above 0 is not on an axis of powers', () => {
    const axis = { x: { label: 'layer' }, y: { label: 'KL', log: 10 as const } }
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
    const sizes = [...page.matchAll(/<svg data-for="(desk|phone)"[^>]* width="(\d+)"/g)]
    assert.deepEqual(
      sizes.map((match) => match.slice(1)),
      [
        ['desk', '760'],
        ['phone', '350'],
      ],
    )
    assert.doesNotMatch(page, /<model>|<two>|<script|src=|href=/)
  })

  test('a package that is missing is named, with the command that installs it', async () => {
    await assert.rejects(
      loadPeer('@lowbit/none'),
      /@lowbit\/none must be installed.*npm install @observablehq\/plot linkedom @resvg\/resvg-js/,
    )
  })
})
