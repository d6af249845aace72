import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { close, golden, json, lowbit, printed, stories, temporaryFolder, text } from './lowbit.ts'

/* What each row must say was computed by transformers with the float model and quanto's quantized ones. */

const { variants } = JSON.parse(readFileSync(join(golden, 'manifest.json'), 'utf8'))
const { lambada } = JSON.parse(readFileSync(new URL('../golden/tasks.json', import.meta.url), 'utf8'))
const root = temporaryFolder()
const out = join(root, 'sweep')
const [page, charts] = [join(root, 'sweep.html'), join(root, 'charts')]
const passages = join(root, 'lambada.json')
writeFileSync(passages, JSON.stringify(lambada.items))
const settings = [
  '--text',
  text,
  '--context',
  '128',
  '--lambada',
  passages,
  '--new-tokens',
  '8',
  '--out',
  out,
]

test('the float model and each configuration are measured, once; a sweep that is started again goes on', async () => {
  const first = await json('sweep', stories, '--weights', 'int8', ...settings)
  assert.deepEqual(
    first.rows.map(({ name }: { name: string }) => name),
    ['float', 'qint8'],
  )
  const [float, int8] = first.rows
  close(float.perplexity, variants.float.perplexity, 1e-3)
  close(int8.perplexity, variants['quanto-qint8'].perplexity, 1e-3)
  assert.equal(float.lambadaAccuracy, lambada.figures.acc)
  assert.ok(int8.bytes < float.bytes && int8.bitsPerWeight < float.bitsPerWeight)
  for (const row of first.rows) assert.ok(row.msPerToken > 0 && row.peakMemoryBytes > row.bytes)

  const { stdout } = await printed(
    ...['sweep', stories, '--weights', 'int8,int4', '--algorithm', 'none,hqq', ...settings],
    ...['--report', page, '--charts', charts],
  )
  const { rows } = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8'))
  assert.deepEqual(rows.slice(0, 2), first.rows)
  const [refused, int4] = rows.slice(2)
  assert.deepEqual(refused.name, 'qint8, hqq')
  assert.match(refused.error, /^hqq: the type must be unsigned/)
  assert.match(stdout, /\nqint8, hqq: hqq: the type must be unsigned .+\n$/)
  close(int4.perplexity, variants['quanto-qint4'].perplexity, 1e-3)
  const table = readFileSync(join(out, 'results.md'), 'utf8').split('\n')
  assert.deepEqual(
    table.map((line) => line.split(' | ')[0]),
    ['| model', '| ---', '| float', '| qint8', '| qint4', '| qint4, hqq', ''],
  )
  assert.ok(!existsSync(join(out, 'model')))
  const names = ['bits-perplexity', 'lambada', 'latency', 'memory', 'perplexity', 'size']
  assert.deepEqual(
    readdirSync(charts).toSorted(),
    names.flatMap((name) => [`${name}.png`, `${name}.svg`]),
  )
  const html = readFileSync(page, 'utf8')
  assert.doesNotMatch(html, /NaN|undefined/)
  assert.match(html, /<td>qint8, hqq<\/td><td class="long">hqq: the type must be unsigned/)
})

test('other settings, activations without a text, and a text from stdin are refused', async () => {
  const says = async (...args: string[]) =>
    (await lowbit('sweep', stories, '--weights', 'int8', ...args)).stderr
  assert.match(
    await says(...settings, '--limit', '2'),
    /^lowbit: .+results\.json: must hold results of the same settings, to go on with; limit is nothing there \(take another --out\)\n$/,
  )
  const own = join(root, 'own')
  mkdirSync(own)
  writeFileSync(join(own, 'results.md'), 'mine')
  assert.match(
    await says(...settings.with(settings.indexOf('--out') + 1, own)),
    /results\.md: must be the table of results\.json, which is not there/,
  )
  assert.equal(readFileSync(join(own, 'results.md'), 'utf8'), 'mine')
  assert.match(
    await says(...settings, '--activations', 'int8'),
    /^lowbit: sweep: --activations needs --calibration/,
  )
  assert.match(
    await says(...settings, '--algorithm', 'none,rotate+gptq'),
    /^lowbit: sweep: --algorithm rotate\+gptq needs --calibration FILE, a text that shows/,
  )
  assert.match(
    await says('--text', '-', '--out', join(root, 'x')),
    /^lowbit: sweep: texts are read once for each/,
  )
  // What the float model fails by is said once, and nothing is written.
  assert.match(
    await says('--text', '/no/text', '--out', join(root, 'x')),
    /^lowbit: \/no\/text: must be a file that can be read; there is none \(ENOENT\)\n$/,
  )
  assert.ok(!existsSync(join(root, 'x/results.json')))
})
