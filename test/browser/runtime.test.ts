import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { Page } from 'playwright-core'
import { freeze, loadCausalLM, openDevice, perplexity, quantize } from '../../src/index.ts'
import { inputs, manifest, stories } from '../models/golden.ts'
import { ApiPages } from './apiPages.ts'

/*
 * The API in a page: the same numbers as Python's and Node's, a main thread that stays free, a small bundle.
 */

/** A frame may come late by this much while the model computes. */
const longestPauseMs = 50

const pages = new ApiPages()

for (const isolated of [true, false]) {
  const place = isolated ? 'isolated' : 'not isolated'

  test(`${place}: perplexity of a window is Python's, and Node's to 1e-6`, async (t) => {
    const { page, complaints } = await pages.open(isolated)
    const ids = inputs.ppl_ids.slice(0, manifest.context)
    const measured = await page.evaluate(async (window) => {
      const { freeze, loadCausalLM, perplexity, quantize } = globalThis.lowbit
      const model = await loadCausalLM('stories260K')
      const float = await perplexity(model, window, { context: window.length })
      quantize(model, { weights: 'int4' })
      freeze(model)
      return {
        float,
        int4: await perplexity(model, window, { context: window.length }),
        device: model.device.name,
      }
    }, ids)
    t.diagnostic(`${measured.device}: ${measured.float.perplexity}, ${measured.int4.perplexity}`)
    assert.deepEqual(complaints, [])
    const node = await loadCausalLM(stories, { device: openDevice('wasm') })
    closeTo(
      measured.float.perplexity,
      (await perplexity(node, ids, { context: ids.length })).perplexity,
      1e-6,
    )
    quantize(node, { weights: 'int4' })
    freeze(node)
    closeTo(measured.int4.perplexity, (await perplexity(node, ids, { context: ids.length })).perplexity, 1e-6)
    // The manifest has six decimals of each window.
    assert.ok(
      Math.abs(measured.float.nll - manifest.variants.float.window_nll[0]) < 5e-6,
      `float: ${measured.float.nll}`,
    )
    assert.ok(
      Math.abs(measured.int4.nll - manifest.variants['quanto-qint4'].window_nll[0]) < 5e-6,
      `int4: ${measured.int4.nll}`,
    )
    await page.close()
  })

  test(`${place}: the main thread is never blocked for ${longestPauseMs} ms while a model generates`, async (t) => {
    const { page } = await pages.open(isolated)
    await page.evaluate(async () => {
      globalThis.model = await globalThis.lowbit.loadCausalLM('stories260K')
    })
    assert.ok(
      (await longTasks(page, 'block')).some((ms) => ms >= 80),
      'a thread blocked on purpose must be noticed',
    )
    // A busy machine may stop the page once; a call that blocks does so every time.
    const pauses: number[] = []
    do pauses.push(Math.max(0, ...(await longTasks(page, 'generate'))))
    while (pauses.length < 3 && pauses[pauses.length - 1] > longestPauseMs)
    t.diagnostic(`longest task above ${longestPauseMs} ms: ${pauses.join(', ')}`)
    assert.ok(Math.min(...pauses) <= longestPauseMs)
    await page.close()
  })
}

const absences: Record<string, { status: number; contentType: string; body: string }> = {
  'a page of HTML': {
    status: 200,
    contentType: 'text/html',
    body: '<!doctype html><html><body></body></html>',
  },
  '403': { status: 403, contentType: 'application/xml', body: '<Error/>' },
}
for (const [name, answer] of Object.entries(absences)) {
  test(`a model loads from a server that answers ${name} for what it has not, by a URL with a query`, async () => {
    const { page } = await pages.open(true)
    const files = readdirSync(stories)
    const asked: URL[] = []
    await page.route('**/stories260K/**', (route) => {
      const url = new URL(route.request().url())
      asked.push(url)
      return files.some((file) => url.pathname.endsWith(`/${file}`))
        ? route.continue()
        : route.fulfill(answer)
    })
    const ids = await page.evaluate(async (prompt) => {
      const model = await globalThis.lowbit.loadCausalLM('stories260K/?token=secret', {
        computeDtype: 'float32',
      })
      return (await globalThis.lowbit.generate(model, prompt, { maxNewTokens: 20 })).tokenIds
    }, inputs.prompt)
    assert.deepEqual(ids, manifest.variants.float.greedy_ids.slice(0, 20))
    assert.deepEqual([...new Set(asked.map(({ search }) => search))], ['?token=secret'])
    await page.close()
  })
}

test('a checkpoint is opened, converted and verified in a page: by its URL, and as files that were dropped', async () => {
  const { page, complaints } = await pages.open(true)
  const done = await page.evaluate(async () => {
    const { convert, loadCausalLM, memoryFolder, openCheckpoint, verify } = globalThis.lowbit
    const remote = await openCheckpoint('stories260K')
    const weight = await remote.read('model.layers.0.mlp.up_proj.weight')
    const written = new Map<string, Uint8Array<ArrayBuffer>>()
    await convert('stories260K', memoryFolder(written), { to: 'bnb-nf4', onWarning: () => {} })
    const dropped = [...written].map(([name, bytes]) => new File([bytes], name))
    const local = await openCheckpoint(dropped)
    const codes = await local.read('model.layers.0.mlp.up_proj.weight')
    const { sound, tensors } = await verify(dropped)
    const kinds = [remote, local].map(({ scheme }) => scheme)
    const texts = [String(weight), String(codes)]
    await Promise.all([remote.close(), local.close()])
    return { kinds, texts, sound, tensors, loaded: String(await loadCausalLM(dropped)).includes('QLinear') }
  })
  assert.deepEqual(complaints, [])
  assert.deepEqual(done.kinds, ['none', 'bitsandbytes'])
  assert.match(done.texts[0], /^Tensor float32 \[172,64\]/)
  assert.match(done.texts[1], /^QTensor nf4 \[172,64\], runs of 64/)
  assert.ok(done.sound && done.tensors === 47 && done.loaded)
  await page.close()
})

test('nothing of Node is in the bundle, and it is small', (t) => {
  const scripts = readdirSync(pages.folder).filter((name) => name.endsWith('.js'))
  for (const name of scripts)
    assert.doesNotMatch(
      readFileSync(join(pages.folder, name), 'utf8'),
      /["'`]node:|\brequire\(|worker_threads/,
      name,
    )
  const gzip = (name: string) => gzipSync(readFileSync(join(pages.folder, name))).length
  for (const name of readdirSync(pages.folder).filter((found) => /\.(js|wasm)$/.test(found))) {
    t.diagnostic(
      `${name}: ${pages.bundled.get(name) ?? readFileSync(join(pages.folder, name)).length} bytes, gzip ${gzip(name)}`,
    )
  }
  // The tokenizer and the templates are loaded when used.
  assert.ok(gzip('main.js') < 56_000)
})

declare global {
  var model: import('lowbit').CausalLM
}

/**
 * Milliseconds of each task longer than 50 ms while the page generates 400 tokens, or blocks its thread on
 * purpose.
 */
function longTasks(page: Page, what: 'generate' | 'block'): Promise<number[]> {
  return page.evaluate(async (doing) => {
    const tasks: number[] = []
    const observer = new PerformanceObserver((list) =>
      tasks.push(...list.getEntries().map(({ duration }) => duration)),
    )
    // So that no earlier task is counted.
    await new Promise((resolve) => setTimeout(resolve, 100))
    observer.observe({ type: 'longtask' })
    if (doing === 'generate') {
      const { tokenIds } = await globalThis.lowbit.generate(globalThis.model, 'Once', {
        maxNewTokens: 400,
        stopAtEos: false,
      })
      if (tokenIds.length !== 400) throw new Error(`generated ${tokenIds.length} tokens`)
    } else {
      const end = performance.now() + 80
      while (performance.now() < end);
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
    observer.disconnect()
    return tasks
  }, what)
}

function closeTo(actual: number, expected: number, relative: number): void {
  assert.ok(
    Math.abs(actual - expected) <= relative * expected,
    `${actual} must be within ${relative} of ${expected}`,
  )
}
