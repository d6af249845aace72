import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lightPalette } from '../../../src/cli/charts/chart.ts'
import { loadPlotting } from '../../../src/cli/charts/plotting.ts'
import { quantizePage } from '../../../src/cli/report/quantizePage.ts'

const layer = (name: string, error: number | null, errorRounded: number | null, weights = 'qint4') => ({
  ...{ name, weights, groupSize: 32, error, errorRounded, seconds: 1 },
})
const layers = [
  layer('model.layers.0.mlp.up_proj', 0.05, 0.1),
  layer('model.layers.1.mlp.up_proj', 0.03, 0.1),
  layer('lm_head', null, null, 'qint8'),
]

test('what was quantized by data: each layer before and after, what is left of the error, and the bits', async () => {
  const done = { title: 'small', lead: '', layers, algorithms: ['gptq'] }
  const { sections } = quantizePage(await loadPlotting(), done)
  const [errors, bits, table] = sections
  const [both, left] = (errors.charts ?? []).map((chart) => chart.draw(lightPalette))
  const heights = (svg: string) => [...svg.matchAll(/<circle [^>]*cy="([\d.]+)"/g)].map(([, y]) => Number(y))
  // Rounded, solved, rounded, solved: errors of 0.1, 0.05, 0.1, 0.03 on a linear axis that rises.
  const [a, b, c, d] = heights(both)
  assert.ok(a === c && a < b && Math.abs((d - a) / (b - a) - 7 / 5) < 1e-3, both)
  assert.match(both, />rounded to nearest<.*>gptq</)
  assert.equal(heights(left).length, 2)
  assert.match(bits.charts?.[0].draw(lightPalette) ?? '', />qint4, groups of 32<.*>qint8, groups of 32</s)
  assert.deepEqual(table.tables?.[0].rows[0].slice(1), ['qint4, groups of 32', '0.10000', '0.05000', '1.0'])
  assert.deepEqual(table.tables?.[0].rows[2].slice(2, 4), ['–', '–'])
})

test('what each algorithm bought stands first, in shares of what rounding loses', async () => {
  const steps = [
    { name: 'rounded to nearest', klDivergence: 0.4 },
    { name: 'rotate', klDivergence: 0.5 },
    { name: 'gptq', klDivergence: 0.1 },
  ]
  const page = quantizePage(await loadPlotting(), {
    title: '',
    lead: '',
    layers,
    algorithms: ['gptq'],
    steps,
  })
  const svg = page.sections[0].charts?.[0].draw(lightPalette) ?? ''
  assert.match(svg, />rounded to nearest<.*>then rotate<.*>then gptq</s)
  assert.match(svg, />0\.4<.*>0\.5, 125 %<.*>0\.1, 25 %</s)
})

test('what was rounded: the error of each weight', async () => {
  const done = { title: 'small', lead: '', layers: layers.slice(0, 2), algorithms: [] }
  const { sections } = quantizePage(await loadPlotting(), done)
  assert.deepEqual(
    sections.map(({ title }) => title),
    ['Error of weights', 'Bits', 'Layers'],
  )
  assert.equal(sections[1].text, 'All 2 layers: qint4, groups of 32.')
  assert.equal(sections[2].tables?.[0].columns.length, 3)
})
