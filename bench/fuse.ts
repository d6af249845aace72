// npm run bench:fuse [-- --model FILE] [--threads 2] [--lengths 32,64,128,256,512,1024,2048] [--new-tokens 256]
// [--rounds 5] [--record]
//
// A model beside the same one fused (`fuse`), taking turns in one process, one sequence at a time: prompts of
// these lengths, and as many new tokens, at most --new-tokens. Without --model it is SmolLM2-135M-Instruct,
// fetched when first needed. --record writes bench/results/fuse.json and remakes the table of docs/speed.md
// from it; then let the machine do nothing else.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { timeGeneration } from '../src/evaluate/generationRun.ts'
import { median } from '../src/evaluate/median.ts'
import { type CausalLM, loadCausalLM, openDevice } from '../src/index.ts'

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    threads: { type: 'string', default: '2' },
    lengths: { type: 'string', default: '32,64,128,256,512,1024,2048' },
    'new-tokens': { type: 'string', default: '256' },
    rounds: { type: 'string', default: '5' },
    record: { type: 'boolean', default: false },
  },
})
const script = (name: string) => fileURLToPath(new URL(`../scripts/${name}`, import.meta.url))
const path =
  values.model ??
  execFileSync(process.execPath, [script('fetch-smollm2.mjs')], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
const busy = loadavg()[0]
const device = openDevice('cpu', { threads: Number(values.threads) })

/** Tokens per second of prompt and text, and the most memory that tensors took meanwhile. */
interface Run {
  prefill: number
  decode: number
  bytes: number
}

async function run(model: CausalLM, promptTokens: number, newTokens: number): Promise<Run> {
  // The other model's weights are there, too, and not this one's.
  const others = device.allocatedBytes - bytesOf(model)
  device.peakBytes = device.allocatedBytes
  const settings = { batchSize: 1, promptTokens, newTokens, kv: 'float16' } as const
  const { firstTokenMs, stepMs } = await timeGeneration(model, settings)
  return {
    prefill: (1000 * promptTokens) / firstTokenMs,
    decode: 1000 / stepMs,
    bytes: device.peakBytes - others,
  }
}

/** What the parameters of a model take. */
function bytesOf(model: CausalLM): number {
  const tensors = new Set(
    [...model.parameters()].flatMap((one) => ('tensors' in one ? one.tensors() : [one])),
  )
  return [...tensors].reduce((sum, { byteLength }) => sum + byteLength, 0)
}

const models = [await loadCausalLM(path, { device }), await loadCausalLM(path, { device, doFuse: true })]
for (const model of models) await run(model, 64, 16)
const rows: Record<string, string>[] = []
for (const promptTokens of values.lengths.split(',').map(Number)) {
  const newTokens = Math.min(promptTokens, Number(values['new-tokens']))
  const runs: [apart: Run[], fused: Run[]] = [[], []]
  for (let round = 0; round < Number(values.rounds); round++)
    for (const i of round % 2 === 0 ? [0, 1] : [1, 0])
      runs[i].push(await run(models[i], promptTokens, newTokens))
  const of = (which: 0 | 1, figure: keyof Run) => median(runs[which].map((one) => one[figure]))
  const ratio = (figure: keyof Run) => {
    const ratios = runs[0].map((apart, i) => runs[1][i][figure] / apart[figure])
    return `${median(ratios).toFixed(2)}× (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`
  }
  const [apart, fused] = [0, 1].map((which) => (figure: keyof Run) => of(which as 0 | 1, figure))
  const mb = (bytes: number) => (bytes / 1e6).toFixed(1)
  rows.push({
    'batch size': '1',
    prompt: String(promptTokens),
    new: String(newTokens),
    'prefill, tokens/s': apart('prefill').toFixed(0),
    'fused ': fused('prefill').toFixed(0),
    'ratio ': ratio('prefill'),
    'decode, tokens/s': apart('decode').toFixed(1),
    fused: fused('decode').toFixed(1),
    ratio: ratio('decode'),
    'memory, MB': mb(apart('bytes')),
    'fused  ': mb(fused('bytes')),
  })
  console.error(Object.values(rows[rows.length - 1]).join(' | '))
}
console.table(rows)
const machine = [
  {
    date: new Date().toISOString().slice(0, 10),
    CPU: `${cpus().length} × ${cpus()[0].model}`,
    device: device.name,
    threads: values.threads,
    Node: process.version,
    model: basename(path),
    rounds: values.rounds,
    'load before': busy.toFixed(1),
  },
]
await device.close()
if (values.record) {
  const results = new URL('results/fuse.json', import.meta.url)
  writeFileSync(results, `${JSON.stringify({ rows, machine }, null, 2)}\n`)
  execFileSync(process.execPath, [script('readme.mjs')], { stdio: 'inherit' })
}
