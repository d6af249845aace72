import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lightPalette } from '../../src/cli/charts/chart.ts'
import { loadPlotting } from '../../src/cli/charts/plotting.ts'
import { sweepPage } from '../../src/cli/sweepCharts.ts'

const row = (name: string, activations: string | null, perplexity: number, bitsPerWeight: number) => ({
  ...{ name, weights: name.split(',')[0], activations, algorithm: null },
  ...{ perplexity, bitsPerWeight, bytes: 1000 * bitsPerWeight, msPerToken: 2, peakMemoryBytes: 5e6 },
})
const rows = [
  { ...row('float', null, 10, 32), weights: null },
  row('qint8', null, 11, 8),
  row('qint8, activations qint8', 'qint8', 12, 8),
  row('qint2', null, 3000, 2),
  { name: 'nf4, hqq', weights: 'nf4', activations: null, algorithm: 'hqq', error: 'none of both' },
]

test('a sweep in charts: by activations, the float model first in each group, what failed in words', async () => {
  const settings = { model: 'model', text: 'text.txt', promptTokens: 8, newTokens: 4 }
  const table = { columns: [{ head: 'model' }], rows: [['float']] }
  const { sections } = sweepPage(await loadPlotting(), settings, rows, table)
  assert.deepEqual(
    sections.map(({ title }) => title),
    ['Perplexity', 'Latency per token', 'Memory', 'Size', 'Bits against perplexity', 'Figures'],
  )
  const svg = sections[0].charts?.[0].draw(lightPalette) ?? ''
  const written = [...svg.matchAll(/>([^<]+)<\/text>/g)].map(([, text]) => text)
  assert.deepEqual(
    written.filter((text) => /^(float|qint.|nf4)/.test(text)),
    ['float', 'qint8', 'qint2', 'float', 'qint8'],
  )
  assert.deepEqual(
    written.filter((text) => /\d\.\d{3}|3000/.test(text)),
    ['10.000', '11.000', '3000', '10.000', '12.000'],
  )
  assert.ok(written.indexOf('activations float') < written.indexOf('activations qint8'))
  const [dots] = sections[4].charts ?? []
  assert.equal(dots.draw(lightPalette).match(/<circle/g)?.length, 3)
  assert.match(dots.caption, /Far above: qint2 \(3000\)\.$/)
  assert.deepEqual(sections[5].tables?.[1].rows, [['nf4, hqq', 'none of both']])
})
