// npm run bench:fuse [-- --model FILE] [--threads 2] [--lengths 32,64,128,256,512,1024,2048] [--rounds 5]
// [--record]
//
// A model beside the same one fused (`fuse`), one sequence at a time: prompts of these lengths, and as many new
// tokens, at most 128. Each round is a process of its own, since much depends on where memory happens to lie;
// in it the two take turns, prompt by prompt and four new tokens by four. Without --model it is
// SmolLM2-135M-Instruct, fetched when first needed. --record writes bench/results/fuse.json and remakes the
// table of docs/speed.md from it; then let the machine do nothing else.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { benchPrompt } from '../src/evaluate/generationRun.ts'
import { median } from '../src/evaluate/median.ts'
import { type CausalLM, type KVCache, loadCausalLM, openDevice } from '../src/index.ts'
import { DecodeStep } from '../src/models/decodeStep.ts'
import { type Compute, computeIn } from '../src/nn/computeDtype.ts'

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    threads: { type: 'string', default: '2' },
    lengths: { type: 'string', default: '32,64,128,256,512,1024,2048' },
    rounds: { type: 'string', default: '5' },
    record: { type: 'boolean', default: false },
    worker: { type: 'boolean', default: false },
    'fused-first': { type: 'boolean', default: false },
  },
})
const script = (name: string) => fileURLToPath(new URL(`../scripts/${name}`, import.meta.url))
const path =
  values.model ??
  execFileSync(process.execPath, [script('fetch-smollm2.mjs')], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
const lengths = values.lengths.split(',').map(Number)

/** What a round measured of one length: of the model as it is, and fused. */
interface Measured {
  prefill: [apart: number, fused: number]
  decode: [apart: number, fused: number]
  bytes: [apart: number, fused: number]
}

/** Prompts are read in pieces of so many tokens, new ones are timed so many at a time. */
const [chunk, stepsAtOnce] = [256, 4]
const mostNewTokens = 128

/** A model at work on one sequence. */
class Run {
  readonly model: CausalLM
  private readonly compute: Compute
  cache: KVCache | null = null
  step: DecodeStep | null = null
  prefillMs: number[] = []
  stepMs: number[] = []
  bytes = 0

  constructor(model: CausalLM) {
    this.model = model
    this.compute = computeIn(model, { usual: 'int8' })
  }

  /** Forgets what was measured. */
  begin(): void {
    this.prefillMs = []
    this.stepMs = []
    this.bytes = 0
  }

  /** Reads a prompt, and is timed. */
  async prefill(promptTokens: number, newTokens: number): Promise<void> {
    this.end()
    const { model, compute } = this
    const { device } = model
    const ids = benchPrompt(model, promptTokens)
    this.counted(() => {
      const cache = model.createCache(promptTokens + newTokens, { kv: 'float16' })
      this.cache = cache
      this.step = compute(() => new DecodeStep(model, cache))
    })
    await device.sync()
    const started = performance.now()
    await this.counted(async () => {
      const { cache, step } = this as { cache: KVCache; step: DecodeStep }
      for (let start = 0; start < promptTokens; start += chunk) {
        using logits = compute(() =>
          model.forward(ids.slice(start, start + chunk), { cache, lastOnly: true }),
        )
        if (start + chunk >= promptTokens) step.feedLikeliest(logits)
      }
      await device.sync()
    })
    this.prefillMs.push(performance.now() - started)
  }

  /** Some steps, timed. */
  async decode(): Promise<void> {
    const started = performance.now()
    for (let i = 0; i < stepsAtOnce; i++) this.step?.run()
    await this.model.device.sync()
    this.stepMs.push((performance.now() - started) / stepsAtOnce)
  }

  /** Notes the most memory that tensors take in `body`, this model's weights included and all else left out. */
  private counted<R>(body: () => R): R {
    const { device } = this.model
    const others = device.allocatedBytes - bytesOf(this.model) - this.heldBytes
    device.peakBytes = device.allocatedBytes
    const note = () => {
      this.bytes = Math.max(this.bytes, device.peakBytes - others)
    }
    const result = body()
    if (result instanceof Promise) return result.finally(note) as R
    note()
    return result
  }

  private get heldBytes(): number {
    return this.cache?.bytes ?? 0
  }

  end(): void {
    this.step?.dispose()
    this.cache?.dispose()
    this.step = null
    this.cache = null
  }
}

/** What the parameters of a model take. */
function bytesOf(model: CausalLM): number {
  const tensors = [...model.parameters()].flatMap((one) => ('tensors' in one ? one.tensors() : [one]))
  return [...new Set(tensors)].reduce((sum, { byteLength }) => sum + byteLength, 0)
}

/** The mean of the fastest tenth. */
function fastest(times: readonly number[]): number {
  const best = times.toSorted((a, b) => a - b).slice(0, Math.ceil(times.length / 10))
  return best.reduce((sum, time) => sum + time, 0) / best.length
}

/** One round: every length, the two models taking turns. */
async function measure(): Promise<{ device: string; measured: Measured[] }> {
  const device = openDevice('cpu', { threads: Number(values.threads) })
  const load = (doFuse: boolean) => loadCausalLM(path, { device, doFuse })
  const fusedFirst = values['fused-first']
  const first = await load(fusedFirst)
  const second = await load(!fusedFirst)
  const [apart, fused] = (fusedFirst ? [second, first] : [first, second]).map((model) => new Run(model))
  const turns = async (count: number, run: (one: Run) => Promise<void>) => {
    for (let i = 0; i < count; i++) for (const one of i % 2 ? [fused, apart] : [apart, fused]) await run(one)
  }
  await turns(1, (one) => one.prefill(64, 16))
  const measured: Measured[] = []
  for (const promptTokens of lengths) {
    const newTokens = Math.min(promptTokens, mostNewTokens)
    for (const one of [apart, fused]) one.begin()
    await turns(promptTokens > 512 ? 1 : 2, (one) => one.prefill(promptTokens, newTokens))
    await turns(newTokens / stepsAtOnce, (one) => one.decode())
    const both = (figure: (one: Run) => number): [number, number] => [figure(apart), figure(fused)]
    measured.push({
      prefill: both((one) => (1000 * promptTokens) / Math.min(...one.prefillMs)),
      decode: both((one) => 1000 / fastest(one.stepMs)),
      bytes: both((one) => one.bytes),
    })
  }
  for (const one of [apart, fused]) one.end()
  await device.close()
  return { device: device.name, measured }
}

/** The rounds as the rows of a table. */
function tableOf(rounds: readonly Measured[][]): Record<string, string>[] {
  return lengths.map((promptTokens, i) => {
    const all = rounds.map((round) => round[i])
    const middle = (figure: keyof Measured, which: 0 | 1) => median(all.map((one) => one[figure][which]))
    const ratio = (figure: 'prefill' | 'decode') => {
      const ratios = all.map(({ [figure]: [apart, fused] }) => fused / apart)
      const [least, most] = [Math.min(...ratios), Math.max(...ratios)]
      return `${median(ratios).toFixed(2)}× (${least.toFixed(2)}–${most.toFixed(2)})`
    }
    return {
      'batch size': '1',
      prompt: String(promptTokens),
      new: String(Math.min(promptTokens, mostNewTokens)),
      'prefill, tokens/s': middle('prefill', 0).toFixed(0),
      'prefill, fused': middle('prefill', 1).toFixed(0),
      'prefill, ratio': ratio('prefill'),
      'decode, tokens/s': middle('decode', 0).toFixed(1),
      'decode, fused': middle('decode', 1).toFixed(1),
      'decode, ratio': ratio('decode'),
      'memory, MB': (middle('bytes', 0) / 1e6).toFixed(1),
      'memory, fused': (middle('bytes', 1) / 1e6).toFixed(1),
    }
  })
}

if (values.worker) process.stdout.write(JSON.stringify(await measure()))
else {
  const busy = loadavg()[0]
  const rounds: Awaited<ReturnType<typeof measure>>[] = []
  for (let round = 0; round < Number(values.rounds); round++) {
    const { threads, lengths } = values
    const same = ['--model', path, '--threads', threads, '--lengths', lengths, '--worker']
    const words = [
      ...process.execArgv,
      import.meta.filename,
      ...same,
      ...(round % 2 ? ['--fused-first'] : []),
    ]
    rounds.push(JSON.parse(execFileSync(process.execPath, words, { encoding: 'utf8' })))
  }
  const rows = tableOf(rounds.map(({ measured }) => measured))
  console.table(rows)
  const machine = [
    {
      date: new Date().toISOString().slice(0, 10),
      CPU: `${cpus().length} × ${cpus()[0].model}`,
      device: rounds[0].device,
      threads: values.threads,
      Node: process.version,
      model: basename(path),
      rounds: values.rounds,
      'load before': busy.toFixed(1),
    },
  ]
  if (values.record) {
    const results = new URL('results/fuse.json', import.meta.url)
    writeFileSync(results, `${JSON.stringify({ rows, machine }, null, 2)}\n`)
    execFileSync(process.execPath, [script('readme.mjs')], { stdio: 'inherit' })
  }
}
