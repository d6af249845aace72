// The worker that measures llama.cpp: node bench/peers/llama.ts MODEL.gguf. Its package is not there before
// bench/models.ts installed it, so what is used of its interface is written down here.
import { readFileSync } from 'node:fs'
import { type Engine, type Loaded, type Setting, serve } from './worker.ts'

interface Sequence {
  clearHistory(): Promise<void>
  evaluate(tokens: number[], options: { temperature: number; yieldEogToken: boolean }): AsyncIterable<number>
}

interface Context {
  getSequence(): Sequence
}

interface Model {
  tokenize(text: string): number[]
  createContext(options: {
    contextSize: number
    batchSize: number
    threads: number
    flashAttention: boolean
  }): Promise<Context>
}

interface Package {
  getLlama(options: { gpu: false; build: 'never'; logLevel: 'error'; maxThreads: number }): Promise<{
    loadModel(options: { modelPath: string }): Promise<Model>
  }>
}

const name: string = 'node-llama-cpp'

class LlamaCpp implements Engine {
  private readonly path: string
  private model: Model | undefined
  private readonly sequences = new Map<string, Sequence>()

  constructor(path: string) {
    this.path = path
  }

  async load(): Promise<Loaded> {
    const { getLlama } = (await import(name)) as Package
    // No limit of its own on threads: each context's setting holds.
    const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: 0 })
    this.model = await llama.loadModel({ modelPath: this.path })
    const description = readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), 'utf8')
    const { version } = JSON.parse(description) as { version: string }
    return { name: 'llama.cpp', threads: 0, version }
  }

  encode(text: string): number[] {
    if (!this.model) throw new Error('the model must be loaded first')
    return [...this.model.tokenize(text)]
  }

  async *generate(
    prompt: number[],
    newTokens: number,
    setting: Setting,
    signal?: AbortSignal,
  ): AsyncIterable<number> {
    const sequence = await this.sequence(setting, prompt.length + newTokens)
    await sequence.clearHistory()
    let count = 0
    for await (const id of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
      signal?.throwIfAborted()
      yield id
      if (++count === newTokens) return
    }
  }

  /** A sequence with room for so many tokens; made when a setting is first used. */
  private async sequence({ threads, flashAttention }: Setting, tokens: number): Promise<Sequence> {
    if (!this.model) throw new Error('the model must be loaded first')
    const contextSize = Math.max(512, 256 * Math.ceil(tokens / 256))
    const key = `${contextSize} ${threads} ${flashAttention}`
    let sequence = this.sequences.get(key)
    if (!sequence) {
      const context = await this.model.createContext({ contextSize, batchSize: 512, threads, flashAttention })
      sequence = context.getSequence()
      this.sequences.set(key, sequence)
    }
    return sequence
  }
}

await serve(new LlamaCpp(process.argv[2]))
