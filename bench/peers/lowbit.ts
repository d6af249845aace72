// The worker that measures lowbit: node bench/peers/lowbit.ts OPTIONS, with `LowbitOptions` as JSON.
import { readFileSync } from 'node:fs'
import type { CausalLM, DeviceName } from '../../src/index.ts'
import { type Engine, type Loaded, serve } from './worker.ts'

// The built package, as users run it: Node's reading of TypeScript takes 30 MB and a tenth of a second.
const built = new URL('../../dist/index.js', import.meta.url).href
const { generateTokens, loadCausalLM, openDevice } = (await import(
  built
)) as typeof import('../../src/index.ts')

export interface LowbitOptions {
  model: string
  device: DeviceName
  threads: number
  computeDtype: 'float32' | 'int8'
}

class Lowbit implements Engine {
  private readonly options: LowbitOptions
  private model: CausalLM | undefined

  constructor(options: LowbitOptions) {
    this.options = options
  }

  async load(): Promise<Loaded> {
    const { threads, computeDtype } = this.options
    const device = openDevice(this.options.device, { threads })
    // With its tokenizer, as the others load theirs.
    this.model = await loadCausalLM(this.options.model, { device, computeDtype, prepareTokenizer: true })
    await device.sync()
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string
    }
    return { name: device.name, threads: device.threads, version }
  }

  async probe(): Promise<number[]> {
    const logits = this.loaded().forward([1, 2, 3, 4], { lastOnly: true })
    const values = (await logits.read()) as Float32Array
    logits.dispose()
    return [...values.subarray(0, 8)]
  }

  encode(text: string): number[] {
    const { tokenizer } = this.loaded()
    if (!tokenizer) throw new Error(`${this.options.model}: has no tokenizer`)
    return tokenizer.encode(text)
  }

  generate(
    prompt: number[],
    newTokens: number,
    _setting: unknown,
    signal?: AbortSignal,
  ): AsyncIterable<number> {
    return generateTokens(this.loaded(), prompt, { maxNewTokens: newTokens, stopAtEos: false, signal })
  }

  private loaded(): CausalLM {
    if (!this.model) throw new Error('the model must be loaded first')
    return this.model
  }
}

await serve(new Lowbit(JSON.parse(process.argv[2]) as LowbitOptions))
