import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { buildPage } from '../../examples/browser/build.ts'
import { serve, urlOf } from '../../examples/browser/serve.ts'
import { loadCausalLM } from '../../src/index.ts'
import { inputs, manifest, stories } from '../models/golden.ts'
import { openChromium, screenshot, watchComplaints } from './chromium.ts'

/* The example's page, in Chromium, against what Python computed. */

const gguf = fileURLToPath(new URL('../golden/gguf/', import.meta.url))
let folder = ''
let browser: Browser
const servers: Server[] = []

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowbit-browser-'))
  await buildPage(folder)
  browser = await openChromium()
})
after(async () => {
  await browser?.close()
  for (const server of servers) server.close()
  await rm(folder, { recursive: true, force: true })
})

/** The page after its first story, and what it complained about. */
async function openPage(isolated = true): Promise<{ page: Page; complaints: string[] }> {
  const server = await serve(folder, { isolated })
  servers.push(server)
  const page = await browser.newPage()
  page.setDefaultTimeout(15_000)
  const complaints = watchComplaints(page)
  await page.goto(urlOf(server))
  await page.waitForSelector('#report tr:last-child, #error:not([hidden])')
  return { page, complaints }
}

for (const isolated of [true, false]) {
  test(`${isolated ? 'isolated' : 'not isolated'}: int4 writes what transformers and optimum-quanto write`, async (t) => {
    const { page, complaints } = await openPage(isolated)
    await screenshot(t, page, isolated ? 'story-isolated' : 'story')
    assert.equal(await page.textContent('#error'), '')
    assert.equal(await page.textContent('#start'), inputs.prompt)
    assert.equal(await page.textContent('#story'), manifest.variants['quanto-qint4'].greedy_text)
    const rows = await page.$$eval('#report tr', (found) => found.map((row) => [...row.children].map((cell) => cell.textContent ?? '')))
    t.diagnostic(rows.map((row) => row.join(' ')).join(', '))
    const report = Object.fromEntries(rows)
    // 260,032 float32 weights.
    assert.equal(report['weights as float32'], '1,040 kB')
    assert.equal(report['cross-origin isolated'], isolated ? 'yes' : 'no')
    const cores = await page.evaluate(() => navigator.hardwareConcurrency)
    if (isolated && cores > 1) assert.ok(Number(report.threads) > 1, `threads: ${report.threads} of ${cores}`)
    if (!isolated) assert.equal(report.threads, '1')
    assert.deepEqual(complaints, [])
    await page.close()
  })
}

test('a chosen GGUF file answers the prompt as transformers does', async (t) => {
  const { page } = await openPage()
  await page.setInputFiles('#file', join(gguf, 'stories260K-q4_0.gguf'))
  await page.click('#run')
  await page.waitForFunction(() => document.getElementById('status')?.textContent?.includes('per second'))
  await screenshot(t, page, 'gguf-chosen')
  await checkAnswer(page, 'q4_0')
  await page.close()
})

test('a dropped GGUF file does, too', async (t) => {
  const { page } = await openPage()
  const bytes = readFileSync(join(gguf, 'stories260K-q8_0.gguf')).toString('base64')
  await page.evaluate(async (base64) => {
    const blob = await (await fetch(`data:application/octet-stream;base64,${base64}`)).blob()
    const dataTransfer = new DataTransfer()
    dataTransfer.items.add(new File([blob], 'stories260K-q8_0.gguf'))
    document.getElementById('drop')?.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }))
  }, bytes)
  await page.click('#run')
  await page.waitForFunction(() => document.getElementById('status')?.textContent?.includes('per second'))
  await screenshot(t, page, 'gguf-dropped')
  await checkAnswer(page, 'q8_0')
  await page.close()
})

test('a file that is none shows one sentence, and the page goes on', async (t) => {
  const { page, complaints } = await openPage()
  await page.setInputFiles('#file', {
    name: 'broken.gguf',
    mimeType: 'application/octet-stream',
    buffer: Buffer.from('GGUF, but not really'),
  })
  await page.waitForSelector('#error:not([hidden])')
  await screenshot(t, page, 'gguf-broken')
  const sentence = String(await page.textContent('#error'))
  assert.match(sentence, /^broken\.gguf: .+; .+/)
  assert.doesNotMatch(sentence, /\n| at /)
  await page.setInputFiles('#file', join(gguf, 'stories260K-q8_0.gguf'))
  await page.waitForSelector('#run:not([disabled])')
  assert.ok(await page.isHidden('#error'))
  assert.deepEqual(complaints, [])
  await page.close()
})

/** The first 40 tokens are those of transformers with the same file. */
async function checkAnswer(page: Page, kind: string): Promise<void> {
  assert.equal(await page.textContent('#error'), '')
  const { [kind]: expected }: Record<string, { greedy_ids: number[] }> = JSON.parse(readFileSync(join(gguf, 'stories260K.json'), 'utf8'))
  const { tokenizer } = await loadCausalLM(stories)
  const text = tokenizer?.decode(expected.greedy_ids) ?? ''
  assert.ok(text.length > 40)
  assert.equal((await page.textContent('#answer'))?.slice(0, text.length), text)
}
