import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
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

interface Opened {
  page: Page
  /** What it complained about, failed requests among them. */
  complaints: string[]
}

async function openPage({
  isolated = true,
  ...look
}: { isolated?: boolean } & BrowserContextOptions = {}): Promise<Opened> {
  const server = await serve(folder, { isolated })
  servers.push(server)
  const page = await browser.newPage(look)
  page.setDefaultTimeout(30_000)
  const complaints = watchComplaints(page)
  await page.goto(urlOf(server))
  return { page, complaints }
}

/**
 * Waits until the row of the table with these settings is there and marked as the last; its cells by their
 * headings.
 */
async function rowOf(page: Page, weights: string, kept: string): Promise<Record<string, string>> {
  const marked = (wanted: string[]) => {
    const [row] = document.querySelectorAll('#report tr[aria-current]')
    const [first, second] = [...(row?.children ?? [])].map((cell) => cell.textContent)
    return (
      (first === wanted[0] && second === wanted[1]) ||
      document.querySelector('#compare-error:not([hidden])') !== null
    )
  }
  await page.waitForFunction(marked, [weights, kept])
  assert.equal(await page.textContent('#compare-error'), '')
  const texts = (selector: string) =>
    page.$$eval(selector, (cells) => cells.map((cell) => cell.textContent ?? ''))
  const cells = await texts('#report tr[aria-current] td')
  return Object.fromEntries((await texts('#report th')).map((heading, i) => [heading, cells[i]]))
}

/** Three decimals are shown, of a number that agrees with Python's to 2e-6. */
function checkPerplexity(shown: string, variant: string): void {
  const expected = manifest.variants[variant].perplexity
  const error = Math.abs(Number(shown.replace(/,/g, '')) - expected)
  assert.ok(error <= 0.0005 + 2e-6 * expected, `${variant}: ${shown} must be ${expected}`)
}

/** The stories go on as transformers and optimum-quanto let them. */
async function checkStories(page: Page, variant: string): Promise<void> {
  for (const [card, key] of Object.entries({ '#float': 'float', '#quantized': variant })) {
    const { greedy_text: expected } = manifest.variants[key]
    assert.equal(await page.textContent(`${card} b`), inputs.prompt)
    assert.equal((await page.textContent(`${card} .text span`))?.slice(0, expected.length), expected, card)
  }
}

for (const isolated of [true, false]) {
  const place = isolated ? 'isolated' : 'not isolated'
  test(`${place}: the page shows what int4 loses, as transformers and optimum-quanto have it`, async (t) => {
    const { page, complaints } = await openPage({ isolated })
    const without = await rowOf(page, 'int4', 'output head')
    checkPerplexity(without.perplexity, 'quanto-qint4-nolmhead')
    await checkStories(page, 'quanto-qint4-nolmhead')
    checkPerplexity(String(await page.textContent('#float .perplexity')), 'float')
    // 260,032 float32 weights.
    assert.equal(await page.textContent('#float .memory'), '1,040 kB')
    await screenshot(t, page, isolated ? 'page-isolated' : 'page')

    await page.getByLabel('output head').uncheck()
    checkPerplexity((await rowOf(page, 'int4', 'nothing')).perplexity, 'quanto-qint4')
    await checkStories(page, 'quanto-qint4')
    // From the first word on that departs from the float32 model's.
    assert.match(String(await page.textContent('#quantized mark')), /^with her toys/)

    const device = String(await page.textContent('#device'))
    t.diagnostic(device)
    const cores = await page.evaluate(() => navigator.hardwareConcurrency)
    assert.match(device, isolated && cores > 1 ? /with \d+ threads\.$/ : /with one thread/)
    assert.equal(device.includes('not cross-origin isolated'), !isolated)
    assert.deepEqual(complaints, [])
    await page.close()
  })
}

test('all types one after the other, dark and on a phone', async (t) => {
  const { page, complaints } = await openPage({ colorScheme: 'dark', viewport: { width: 390, height: 800 } })
  await page.getByLabel('output head').uncheck()
  await rowOf(page, 'int4', 'nothing')
  await page.click('#all')
  await page.waitForFunction(
    () => document.querySelector('#report tr[aria-current] td')?.textContent === 'int2',
  )
  await rowOf(page, 'int4', 'nothing')
  const rows = await page.$$eval('#report tbody tr', (found) =>
    found.map((row) => [...row.children].map((cell) => cell.textContent ?? '')),
  )
  t.diagnostic(rows.map((row) => row.join(' ')).join(', '))
  const perplexities = Object.fromEntries(
    rows.filter(([, kept]) => kept !== 'output head').map(([weights, , , shown]) => [weights, shown]),
  )
  for (const type of ['int8', 'int4', 'int2', 'float8'])
    checkPerplexity(perplexities[type], `quanto-q${type}`)
  for (const [, , , , , speed] of rows) assert.ok(Number(speed.replace(/,/g, '')) > 0)
  await screenshot(t, page, 'page-dark-phone')
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390)
  assert.deepEqual(complaints, [])
  await page.close()
})

test('settings that leave nothing to quantize are answered with one sentence, and the page goes on', async () => {
  const { page, complaints } = await openPage()
  await page.getByLabel('attention').check()
  await page.getByLabel('feed-forward').check()
  await page.waitForSelector('#compare-error:not([hidden])')
  assert.match(String(await page.textContent('#compare-error')), /^quantize: .+; .+/)
  await page.getByLabel('attention').uncheck()
  await page.getByRole('radio', { name: 'int8' }).check()
  await rowOf(page, 'int8', 'output head, feed-forward')
  assert.deepEqual(complaints, [])
  await page.close()
})

/** The cells of the row that was added last of the models that a text quantized, once nothing goes on. */
async function quantizeByText(page: Page): Promise<string[]> {
  await page.click('#quantize')
  await page.waitForFunction(
    () =>
      document.getElementById('calibrated-status')?.textContent?.startsWith('Quantized in') ||
      document.querySelector('#calibrated-error:not([hidden])') !== null,
  )
  assert.equal(await page.textContent('#calibrated-error'), '')
  return page.$$eval('#calibrated-report tr[aria-current] td', (cells) =>
    cells.map((cell) => cell.textContent ?? ''),
  )
}

for (const [look, colorScheme, width] of [
  ['light', 'light', 1280],
  ['dark-phone', 'dark', 390],
] as const) {
  test(`${look}: a text quantizes the model on the page with less loss than rounding, and its files load`, async (t) => {
    const { page, complaints } = await openPage({ colorScheme, viewport: { width, height: 800 } })
    await page.waitForFunction(() => (document.getElementById('source') as HTMLTextAreaElement).value !== '')
    await page.getByRole('radio', { name: '4', exact: true }).check()
    await page.getByLabel('rounded').check()
    const rounded = await quantizeByText(page)
    await page.getByLabel('GPTQ', { exact: true }).check()
    const solved = await quantizeByText(page)
    t.diagnostic(`${rounded.join(' ')}, ${solved.join(' ')}`)
    assert.deepEqual(
      [rounded.slice(0, 2), solved.slice(0, 2)],
      [
        ['rounded', '4'],
        ['GPTQ', '4'],
      ],
    )
    assert.equal(rounded[2], solved[2])
    assert.ok(Number(solved[3]) < Number(rounded[3]))
    const names = await page.$$eval('#files a', (links) => links.map((link) => link.textContent ?? ''))
    assert.ok(names.includes('model.safetensors') && names.includes('stories260K-4bit.gguf'), `${names}`)
    for (const name of ['model.safetensors', 'stories260K-4bit.gguf']) {
      const waiting = page.waitForEvent('download')
      await page.click(`#files a[download="${name}"]`)
      await (await waiting).saveAs(join(folder, 'downloads', look, name))
    }
    const { tokenizer } = await loadCausalLM(join(folder, 'downloads', look, 'stories260K-4bit.gguf'))
    assert.ok(tokenizer)
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width)
    // The comparison above goes on undisturbed.
    await rowOf(page, 'int4', 'output head')
    await screenshot(t, page, `calibrated-${look}`)
    assert.deepEqual(complaints, [])
    await page.close()
  })
}

test('quantizing by a text can be stopped, refuses one without words, and goes on after both', async () => {
  const { page, complaints } = await openPage()
  await page.waitForFunction(() => (document.getElementById('source') as HTMLTextAreaElement).value !== '')
  await page.click('#quantize')
  await page.waitForFunction(
    () => Number(document.querySelector('progress[value]')?.getAttribute('value')) > 0,
  )
  await page.click('#abort')
  await page.waitForFunction(() =>
    document.getElementById('calibrated-status')?.textContent?.startsWith('Stopped.'),
  )
  await page.fill('#source', ' ')
  await page.click('#quantize')
  await page.waitForSelector('#calibrated-error:not([hidden])')
  assert.match(String(await page.textContent('#calibrated-error')), /^\w+: .+; .+/)
  await page.fill(
    '#source',
    'Once upon a time there was a dog. It liked the sun and the tall trees. '.repeat(9),
  )
  assert.deepEqual((await quantizeByText(page)).slice(0, 2), ['GPTQ', '3'])
  assert.deepEqual(complaints, [])
  await page.close()
})

test('a chosen GGUF file answers the prompt as transformers does', async (t) => {
  const { page, complaints } = await openPage()
  await page.setInputFiles('#file', join(gguf, 'stories260K-q4_0.gguf'))
  await checkAnswer(page, 'q4_0')
  await screenshot(t, page, 'gguf-chosen')
  assert.deepEqual(complaints, [])
  await page.close()
})

test('a dropped GGUF file does, too', async () => {
  const { page } = await openPage()
  const bytes = readFileSync(join(gguf, 'stories260K-q8_0.gguf')).toString('base64')
  await page.evaluate(async (base64) => {
    const blob = await (await fetch(`data:application/octet-stream;base64,${base64}`)).blob()
    const dataTransfer = new DataTransfer()
    dataTransfer.items.add(new File([blob], 'stories260K-q8_0.gguf'))
    document
      .getElementById('drop')
      ?.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }))
  }, bytes)
  await checkAnswer(page, 'q8_0')
  await page.close()
})

test('who has no file takes the small model, and may stop it', async () => {
  const { page, complaints } = await openPage()
  await page.click('#small')
  await page.waitForSelector('#run:not([disabled])')
  await page.evaluate(() => {
    document.getElementById('form')?.dispatchEvent(new Event('submit', { cancelable: true }))
    document.getElementById('stop')?.click()
  })
  await page.waitForFunction(() => document.getElementById('speed')?.textContent === 'Stopped.')
  await page.waitForSelector('#run:not([disabled])')
  await page.selectOption('#compute', 'float32')
  await page.click('#run')
  await page.waitForFunction(() => document.getElementById('speed')?.textContent?.includes('per second'))
  const { greedy_text: expected } = manifest.variants['quanto-qint8']
  assert.equal((await page.textContent('#answer'))?.slice(0, expected.length), expected)
  assert.equal(await page.textContent('#error'), '')
  assert.deepEqual(complaints, [])
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

/** Generates in float32: the first 40 tokens are those of transformers with the same file. */
async function checkAnswer(page: Page, kind: string): Promise<void> {
  await page.selectOption('#compute', 'float32')
  await page.click('#run')
  await page.waitForFunction(() => document.getElementById('speed')?.textContent?.includes('per second'))
  assert.equal(await page.textContent('#error'), '')
  const { [kind]: expected }: Record<string, { greedy_ids: number[] }> = JSON.parse(
    readFileSync(join(gguf, 'stories260K.json'), 'utf8'),
  )
  const { tokenizer } = await loadCausalLM(stories)
  const text = tokenizer?.decode(expected.greedy_ids) ?? ''
  assert.ok(text.length > 40)
  assert.equal((await page.textContent('#answer'))?.slice(0, text.length), text)
}
