// The worker that measures wllama, llama.cpp in WebAssembly, in the system's Chromium: node
// bench/peers/web/wllama.ts MODEL.gguf. Its package is not there before it was installed, so what is used of it
// is written down here.
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { serve as serveFiles, urlOf } from '../../../examples/browser/serve.ts'
import { planCausalLM } from '../../../src/models/load.ts'
import type { Tokenizer } from '../../../src/models/tokenizer.ts'
import { openChromium } from '../../../test/browser/chromium.ts'
import { type Engine, type Loaded, type RunOptions, type RunReport, type Setting, serve } from '../worker.ts'

interface Chunk {
  choices: { text: string }[]
  /** Of the last chunk: what the whole took. */
  timings?: { prompt_n: number; prompt_ms: number; predicted_n: number }
}

interface Wllama {
  loadModel(files: Blob[], options: object): Promise<void>
  createCompletion(options: object): Promise<void>
}

interface Package {
  Wllama: new (paths: { default: string }, options: object) => Wllama
}

/** What a page measured: when each token came, and what the library says of the prompt. */
interface Measured {
  text: string
  marks: number[]
  promptTokens: number
  promptMs: number
  newTokens: number
}

const root = new URL('node_modules/@wllama/wllama/', import.meta.url)

class WllamaInChromium implements Engine {
  private readonly model: string
  private tokenizer: Tokenizer | undefined
  private page: Page | undefined

  constructor(model: string) {
    this.model = model
  }

  async load(): Promise<Loaded> {
    const plan = await planCausalLM(this.model)
    this.tokenizer = plan.model.tokenizer ?? undefined
    await plan.close()
    const browser = await openChromium()
    this.page = await browser.newPage()
    await this.page.goto(urlOf(await serveFiles(folderOf(this.model))))
    const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { version: string }
    return { name: 'wllama', threads: 0, version: `${version}, Chromium ${browser.version()}` }
  }

  /** By the clock of the page, so that what it takes to tell of a token counts for nothing. */
  async run({ prompt, newTokens, setting }: RunOptions): Promise<RunReport> {
    if (!this.page || !this.tokenizer) throw new Error('wllama: the model must be loaded first')
    // It takes texts alone.
    const text = this.tokenizer.decode(prompt)
    const measured = await this.page.evaluate(complete, { text, newTokens, setting })
    const { marks, promptTokens, promptMs } = measured
    if (promptTokens !== prompt.length || measured.newTokens !== newTokens)
      throw new Error(
        `wllama: must read ${prompt.length} tokens and write ${newTokens}; it read ${promptTokens} and wrote ${measured.newTokens}`,
      )
    // A token is handed out once the next is computed, so the first comes a step late, and the last at once.
    const stepMs = marks.slice(1, -1).map((mark, i) => mark - marks[i])
    return { tokenIds: this.tokenizer.encode(measured.text), firstMs: promptMs, stepMs }
  }
}

/** Runs in the page. A model is loaded when a setting is first used. */
async function complete(options: { text: string; newTokens: number; setting: Setting }): Promise<Measured> {
  const page = globalThis as { loaded?: Record<string, Wllama> }
  page.loaded ??= {}
  const { threads, flashAttention } = options.setting
  const key = `${threads} ${flashAttention}`
  if (!page.loaded[key]) {
    const at = '/wllama/index.js'
    const { Wllama } = (await import(at)) as Package
    const made = new Wllama({ default: '/wllama/wasm/wllama.wasm' }, { suppressNativeLog: true })
    const file = await (await fetch('/model.gguf')).blob()
    const how = {
      n_threads: threads,
      flash_attn: flashAttention,
      n_gpu_layers: 0,
      n_ctx: 1024,
      n_parallel: 1,
    }
    await made.loadModel([file], how)
    page.loaded[key] = made
  }
  const measured: Measured = { text: '', marks: [], promptTokens: 0, promptMs: 0, newTokens: 0 }
  await page.loaded[key].createCompletion({
    ...{ prompt: options.text, max_tokens: options.newTokens, temperature: 0, top_k: 1, ignore_eos: true },
    ...{ cache_prompt: false, stream: true },
    onData: ({ choices: [choice], timings }: Chunk) => {
      measured.text += choice.text
      if (!timings) measured.marks.push(performance.now())
      else {
        measured.promptTokens = timings.prompt_n
        measured.promptMs = timings.prompt_ms
        measured.newTokens = timings.predicted_n
      }
    },
  })
  return measured
}

/** A folder to be served: the package's files, the model and an empty page. */
function folderOf(model: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-wllama-'))
  process.on('exit', () => rmSync(folder, { recursive: true }))
  symlinkSync(fileURLToPath(new URL('esm', root)), join(folder, 'wllama'))
  symlinkSync(resolve(model), join(folder, 'model.gguf'))
  writeFileSync(join(folder, 'index.html'), '<!doctype html><link rel="icon" href="data:,">')
  return folder
}

await serve(new WllamaInChromium(process.argv[2]))
