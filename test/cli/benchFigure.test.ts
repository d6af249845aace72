import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { benchFigure } from '../../src/cli/benchFigure.ts'
import type { BenchRow } from '../../src/cli/benchTable.ts'
import { lightPalette } from '../../src/cli/charts/chart.ts'
import { loadPlotting } from '../../src/cli/charts/plotting.ts'
import { lowbit, printed, stories, temporaryFolder } from './lowbit.ts'

const root = temporaryFolder()

/** A measurement of which only the figure's numbers matter. */
const row = (model: string, batchSize: number, rate: number) =>
  ({
    ...{ model, batchSize, promptTokens: 32, newTokens: 16 },
    ...{ prefillTokensPerSecond: 10 * rate, decodeTokensPerSecond: rate },
  }) as BenchRow

test('one figure: prefill above decode, grouped by batch size and length, models in their order', async () => {
  const rows = [row('a/float', 1, 100), row('a/float', 4, 200), row('a/int8', 1, 300), row('a/int8', 4, 400)]
  const svg = benchFigure(await loadPlotting(), rows).draw(lightPalette)
  const [prefill, decode] = svg.split('>Decode: 16 new tokens').map((part) => {
    const written = [...part.matchAll(/>([^<>]+)<\/text>/g)].map(([, text]) => text)
    const bars = [...part.matchAll(/<rect [^>]*y="([\d.]+)" width="([\d.]+)"/g)]
    const lengths = bars.toSorted((a, b) => Number(a[1]) - Number(b[1])).map((match) => Number(match[2]))
    return {
      names: written.filter((text) => /float|int8/.test(text)),
      groups: written.filter((text) => /batch of/.test(text)),
      rates: written.filter((text) => /^\d+$/.test(text) && Number(text) % 100 === 0).slice(-4),
      shares: lengths.map((length) => Math.round(4 * (length / Math.max(...lengths)) * 1e6) / 1e6),
    }
  })
  for (const { names, groups, shares } of [prefill, decode]) {
    assert.deepEqual(names, ['float', 'int8', 'float', 'int8'])
    assert.deepEqual(groups, ['batch of 1, prompts of 32 tokens', 'batch of 4, prompts of 32 tokens'])
    assert.deepEqual(shares, [1, 3, 2, 4])
  }
  assert.deepEqual(prefill.rates, ['1000', '3000', '2000', '4000'])
  assert.deepEqual(decode.rates, ['100', '300', '200', '400'])
})

test('bench draws its figure into a file, and writes over none that is there', async () => {
  const [path, own] = [join(root, 'speed.png'), join(root, 'own.svg')]
  const one = ['bench', stories, '--prompt-tokens', '8', '--new-tokens', '2', '--figure']
  await printed(...one, path)
  assert.equal(readFileSync(path).toString('latin1', 1, 4), 'PNG')
  writeFileSync(own, 'mine')
  assert.match(
    (await lowbit(...one, own)).stderr,
    /own\.svg: the file must not exist, unless overwrite is set/,
  )
  assert.equal(readFileSync(own, 'utf8'), 'mine')
  assert.match((await lowbit(...one, 'a.jpg')).stderr, /--figure: the file must end in \.svg or \.png/)
})
