// The worker that measures wllama, llama.cpp in WebAssembly, in the system's Chromium: node
// bench/peers/web/wllama.ts MODEL.gguf. Its package is not there before it was installed, so what is used of
// it is written down here.
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { serve as serveFiles, urlOf } from '../../../examples/browser/serve.ts'
import { openChromium } from '../../../test/browser/chromium.ts'
import { type Engine, type Loaded, type RunOptions, type RunReport, serve } from '../worker.ts'

interface Wllama {
  loadModel(files: Blob[], options: object): Promise<void>
  kvClear(): Promise<void>
  decode(ids: number[], options: object): Promise<object>
  samplingInit(options: object): Promise<void>
  samplingSample(): Promise<{ token: number }>
}

interface Package {
  Wllama: new (paths: Record<string, string>, options: object) => Wllama
}

const root = new URL('node_modules/@wllama/wllama/', import.meta.url)

class WllamaInChromium implements Engine {
  private readonly model: string
  private page: Page | undefined

  constructor(model: string) {
    this.model = model
  }

  async load(): Promise<Loaded> {
    const browser = await openChromium()
    this.page = await browser.newPage()
    await this.page.goto(urlOf(await serveFiles(folderOf(this.model))))
    const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { version: string }
    return { name: 'wllama', threads: 0, version: `${version}, Chromium ${browser.version()}` }
  }

  /** By the clock of the page, so that what it takes to tell of a token counts for nothing. */
  async run({ prompt, newTokens, setting }: RunOptions): Promise<RunReport> {
    if (!this.page) throw new Error('wllama: the model must be loaded first')
    return this.page.evaluate(generate, { prompt, newTokens, setting })
  }
}

/** Runs in the page. A model is loaded when a setting is first used. */
async function generate({ prompt, newTokens, setting }: RunOptions): Promise<RunReport> {
  const page = globalThis as { loaded?: Record<string, Wllama> }
  page.loaded ??= {}
  const key = JSON.stringify(setting)
  if (!page.loaded[key]) {
    const at = '/wllama/index.js'
    const { Wllama } = (await import(at)) as Package
    const kinds = ['single-thread/wllama.wasm', 'multi-thread/wllama.wasm']
    const made = new Wllama(Object.fromEntries(kinds.map((kind) => [kind, `/wllama/${kind}`])), {
      suppressNativeLog: true,
    })
    const file = await (await fetch('/model.gguf')).blob()
    const how = { n_threads: setting.threads, flash_attn: setting.flashAttention, n_ctx: 1024, n_batch: 512 }
    await made.loadModel([file], how)
    page.loaded[key] = made
  }
  const wllama = page.loaded[key]
  await wllama.kvClear()
  await wllama.samplingInit({ temp: 0, top_k: 1 })
  const tokenIds: number[] = []
  const marks = [performance.now()]
  for (let ids = prompt; tokenIds.length < newTokens; ids = tokenIds.slice(-1)) {
    await wllama.decode(ids, {})
    tokenIds.push((await wllama.samplingSample()).token)
    marks.push(performance.now())
  }
  const [firstMs, ...stepMs] = marks.slice(1).map((mark, i) => mark - marks[i])
  return { tokenIds, firstMs, stepMs }
}

/** A folder to be served: the package's files, the model and an empty page. */
function folderOf(model: string): string {
  const folder = fileURLToPath(new URL('node_modules/.wllama', import.meta.url))
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  symlinkSync(fileURLToPath(new URL('esm', root)), join(folder, 'wllama'))
  symlinkSync(resolve(model), join(folder, 'model.gguf'))
  writeFileSync(join(folder, 'index.html'), '<!doctype html><link rel="icon" href="data:,">')
  return folder
}

await serve(new WllamaInChromium(process.argv[2]))
