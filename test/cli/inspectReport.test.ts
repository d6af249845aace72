import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { golden, json, lowbit, stories, text } from './lowbit.ts'

const folder = mkdtempSync(join(tmpdir(), 'lowbit-report-'))
after(() => rmSync(folder, { recursive: true, force: true }))

test('inspect writes a page, files, and the same as JSON', async () => {
  const [page, charts] = [join(folder, 'report.html'), join(folder, 'charts')]
  const model = join(golden, 'quanto-qint4')
  const to = ['--baseline', stories, '--text', text, '--report', page, '--charts', charts]
  const { text: measured, histograms } = await json('inspect', model, ...to)
  // 5 blocks of 7 layers, and the head.
  assert.equal(measured.contributions.length, 36)
  assert.equal(measured.channels.length, 36)
  assert.equal(measured.sensitivities.length, measured.possibleSensitivities)
  assert.equal(measured.possibleSensitivities, 3 * 36)
  assert.deepEqual(
    measured.quality.map(({ weights }: { weights: string }) => weights),
    ['float', 'this model', 'int8', 'int4', 'int2'],
  )
  assert.equal(measured.quality[0].bitsPerWeight, 32)
  assert.equal(histograms.length, 6)
  const html = readFileSync(page, 'utf8')
  for (const title of ['Size', 'Error of weights', 'Error of outputs', 'Sensitivity', 'Outlier channels'])
    assert.match(html, new RegExp(`<h2>${title}</h2>`))
  assert.equal(html.match(/<svg data-for="desk"/g)?.length, readdirSync(charts).length / 2)
  assert.doesNotMatch(html, /NaN|undefined/)
})

test('a report without a float model to compare with is refused', async () => {
  const { code, stderr } = await lowbit('inspect', stories, '--report', join(folder, 'none.html'))
  assert.equal(code, 1)
  assert.match(stderr, /--report must come with --baseline/)
})

test('what a person has is not written over by a report, nor by charts, and is said before anything is measured', async () => {
  const [diary, own] = [join(folder, 'diary.txt'), join(folder, 'own')]
  writeFileSync(diary, 'mine')
  mkdirSync(own)
  writeFileSync(join(own, 'notes.txt'), 'mine')
  const compared = ['inspect', join(golden, 'quanto-qint4'), '--baseline', stories]
  const page = await lowbit(...compared, '--report', diary)
  assert.equal(page.code, 1)
  assert.match(page.stderr, /the file must not exist, unless overwrite is set/)
  const charts = await lowbit(...compared, '--charts', own, '--overwrite')
  assert.equal(charts.code, 1)
  assert.match(charts.stderr, /notes\.txt/)
  assert.deepEqual([readFileSync(diary, 'utf8'), readdirSync(own)], ['mine', ['notes.txt']])
})
