import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Browser } from 'playwright-core'
import * as vite from 'vite'
import { serve, urlOf } from '../../examples/browser/serve.ts'
import { inputs, manifest, stories } from '../models/golden.ts'
import { openChromium, watchComplaints } from './chromium.ts'

/* An app that has lowbit among its node_modules and knows nothing of its files: what bundlers make of it. */

const root = fileURLToPath(new URL('../..', import.meta.url))
const app = mkdtempSync(join(tmpdir(), 'lowbit-app-'))
const lowbit = join(app, 'node_modules/lowbit')
let browser: Browser

before(async () => {
  mkdirSync(lowbit, { recursive: true })
  cpSync(join(root, 'package.json'), join(lowbit, 'package.json'))
  cpSync(join(root, 'dist'), join(lowbit, 'dist'), { recursive: true })
  for (const name of ['@huggingface/jinja', '@huggingface/tokenizers']) {
    cpSync(join(root, 'node_modules', name), join(app, 'node_modules', name), {
      recursive: true,
      dereference: true,
    })
  }
  cpSync(stories, join(app, 'public/models/stories260K'), { recursive: true })
  writeFileSync(join(app, 'package.json'), '{ "private": true, "type": "module" }')
  writeFileSync(
    join(app, 'index.html'),
    '<!doctype html><link rel="icon" href="data:,"><p></p><script type="module" src="./main.js"></script>',
  )
  writeFileSync(
    join(app, 'main.js'),
    `import { freeze, generate, loadCausalLM, quantize } from 'lowbit'
     const say = (text) => (document.querySelector('p').textContent = text)
     async function run() {
       const model = await loadCausalLM('models/stories260K')
       quantize(model, { weights: 'int4' })
       freeze(model)
       const { text } = await generate(model, ${JSON.stringify(inputs.prompt)}, { maxNewTokens: 40, computeDtype: 'float32' })
       say(model.device.threads + ' threads: ' + text)
     }
     run().catch((error) => say(error.message))`,
  )
  browser = await openChromium()
})
after(async () => {
  await browser?.close()
  rmSync(app, { recursive: true, force: true })
})

for (const base of ['/', '/some/place/']) {
  test(`Vite needs no configuration; built for ${base}`, async () => {
    const folder = join(app, 'site', base)
    await vite.build({ root: app, base, configFile: false, logLevel: 'error', build: { outDir: folder } })
    const files = readdirSync(join(folder, 'assets'))
    assert.ok(
      files.some((name) => /^lowbit-worker-.*\.js$/.test(name)) &&
        files.some((name) => /^lowbit-simd128-.*\.wasm$/.test(name)),
    )
    await checkFolder(join(app, 'site'), base.slice(1))
  })
}

test('the development server of Vite needs none either', async () => {
  const server = await vite.createServer({
    root: app,
    configFile: false,
    logLevel: 'error',
    server: { port: 0 },
  })
  try {
    await server.listen()
    await checkPage(String(server.resolvedUrls?.local[0]), false)
  } finally {
    await server.close()
  }
})

test('esbuild needs the files beside the bundle, and the page says so without them', async () => {
  const folder = join(app, 'esbuild')
  cpSync(join(app, 'public'), folder, { recursive: true })
  cpSync(join(app, 'index.html'), join(folder, 'index.html'))
  await build({
    entryPoints: [join(app, 'main.js')],
    bundle: true,
    format: 'esm',
    outdir: folder,
    logLevel: 'error',
  })
  await assert.rejects(checkFolder(folder), /lowbit-.* must be/)
  const copied = spawnSync('sh', ['-c', `cp node_modules/lowbit/dist/core/lowbit-* ${folder}`], { cwd: app })
  assert.equal(copied.status, 0)
  await checkFolder(folder)
})

test('the package holds what browsers load, and nothing else of the build', () => {
  const names = readdirSync(join(lowbit, 'dist/core')).filter((name) => name.startsWith('lowbit-'))
  assert.deepEqual(names.sort(), [
    'lowbit-relaxed-threads.wasm',
    'lowbit-relaxed.wasm',
    'lowbit-simd128-threads.wasm',
    'lowbit-simd128.wasm',
    'lowbit-worker.js',
  ])
  assert.ok(!existsSync(join(lowbit, 'dist/core/lowbit.node')))
})

async function checkFolder(folder: string, path = ''): Promise<void> {
  const server = await serve(folder)
  try {
    await checkPage(urlOf(server) + path, true)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

async function checkPage(url: string, isolated: boolean): Promise<void> {
  const page = await browser.newPage()
  try {
    const complaints = watchComplaints(page, { asking: true })
    await page.goto(url)
    await page.waitForSelector('p:not(:empty)', { timeout: 20_000 })
    const [, threads, text] = /^(\d+) threads: (.*)$/s.exec(String(await page.textContent('p'))) ?? []
    assert.equal(text, manifest.variants['quanto-qint4'].greedy_text, String(await page.textContent('p')))
    assert.equal(
      Number(threads) > 1,
      isolated && (await page.evaluate(() => navigator.hardwareConcurrency)) > 1,
    )
    assert.deepEqual(complaints, [])
  } finally {
    await page.close()
  }
}
