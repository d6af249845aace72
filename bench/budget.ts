// npm run bench:budget [-- stories260K shakespeare] [--target-bits 2.5,3,3.5,4] [--record]
//
// Bits by budget beside uniform choices: a language model with the bits of each layer chosen within so many a
// weight, and the same model with one type and one size of groups for all layers; each quantized by GPTQ with
// scales that are searched for. Bits are counted with scales and zero points; all linear layers but the head.
// "By chance" is a mix of the same size of the two best uniform choices around it, with layers drawn by chance:
// the line between what these lose.
// --record merges what was measured into bench/results/budget.json, from which scripts/readme.mjs writes the
// tables of docs/calibrated.md. LOWBIT_DATA and LOWBIT_MODELS name the folders of texts and models.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  type CausalLM,
  chooseBits,
  gptq,
  type LayerOverride,
  type LayerOverrides,
  loadCausalLM,
  openDevice,
  perplexity,
  QTensor,
  quantizeCalibrated,
} from '../src/index.ts'
import { lowerHull } from '../src/quantize/budget/assignment.ts'
import { type Subject, samplesOf, shakespeare, stories260K } from './quality/language.ts'

const shared = join(import.meta.dirname, '../../shared')
const data = process.env.LOWBIT_DATA ?? join(shared, 'data')
const models = process.env.LOWBIT_MODELS ?? join(shared, 'models')

const subjects: Record<string, Subject> = { stories260K, shakespeare }
const algorithm = gptq({ bits: 4, groupSize: 32, symmetric: false, actOrder: 'static', scaleSearch: true })
const choices: LayerOverride[] = [2, 3, 4, 8].flatMap((bits) =>
  [16, 32, 64, 128, null].map((groupSize) => ({ bits, groupSize })),
)

/** A model, quantized: bits of a weight, and the perplexity or KL above that of the float model. */
interface Measured {
  bits: number
  loss: number
  figure: number
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'target-bits': { type: 'string', default: '2.5,3,3.5,4' },
    record: { type: 'boolean', default: false },
  },
})

const device = openDevice('cpu', { threads: 2 })
for (const name of positionals.length > 0 ? positionals : Object.keys(subjects)) {
  if (!(name in subjects))
    throw new Error(`bench:budget: takes ${Object.keys(subjects).join(', ')}; received ${name}`)
  const rows = await rowsOf(subjects[name], values['target-bits'].split(',').map(Number))
  console.log(name)
  console.table(rows)
  if (values.record) record(name, rows)
}
await device.close()

async function rowsOf(subject: Subject, targets: readonly number[]) {
  const { folder, text, training, test, context, figure } = subject
  const load = () => loadCausalLM(join(models, folder), { device, dtype: 'float32' })
  const bytes = await readFile(join(data, 'text', text))
  const scored = bytes.subarray(...test).toString()
  using baseline = await load()
  const samples = samplesOf(baseline, bytes.subarray(0, training).toString())
  const float = figure === 'perplexity' ? (await perplexity(baseline, scored, { context })).perplexity : 0
  const measured = async (overrides: LayerOverrides): Promise<Measured> => {
    using model = await load()
    await quantizeCalibrated(model, { algorithm, data: samples, exclude: 'lm_head', overrides })
    const { [figure]: value } = await perplexity(model, scored, { context, baseline })
    return { bits: bitsPerWeight(model), figure: value as number, loss: (value as number) - float }
  }
  const uniform: (Measured & { name: string })[] = []
  // Those of 8 bits lie far above any budget here.
  for (const choice of choices.filter(({ bits }) => bits !== 8)) {
    const name = `${choice.bits} bits, ${choice.groupSize ? `groups of ${choice.groupSize}` : 'rows'}`
    uniform.push({ name, ...(await measured({ '*': choice })) })
    const { bits, figure } = uniform.at(-1) as Measured
    console.error(`${name}: ${bits.toFixed(2)} bits, ${figure.toFixed(5)}`)
  }
  const [figureName, digits] = figure === 'perplexity' ? ['perplexity', 3] : ['KL', 5]
  const rows: Record<string, string>[] = []
  for (const targetBits of targets) {
    using model = await load()
    const options = { algorithm, data: samples, exclude: 'lm_head', candidates: choices, klSamples: 16 }
    const { overrides } = await chooseBits(model, { ...options, targetBits })
    const mix = await measured(overrides)
    const best = uniform
      .filter(({ bits }) => bits <= targetBits)
      .reduce((least, each) => (each.loss < least.loss ? each : least))
    const chance = lossByChance(uniform, mix.bits)
    rows.push({
      budget: `${targetBits} bits`,
      'best uniform choice that fits': best.name,
      [figureName]: best.figure.toFixed(digits),
      mix: mix.figure.toFixed(digits),
      'loss over float': less(mix.loss, best.loss),
      'layers by chance': (float + chance).toFixed(digits),
      'loss over that': less(mix.loss, chance),
    })
    console.error(Object.values(rows.at(-1) ?? {}).join('  '))
  }
  const empty = Object.fromEntries(Object.keys(rows[0]).map((column) => [column, '']))
  return [{ ...empty, budget: 'float32', [figureName]: float.toFixed(digits) }, ...rows]
}

/** `−25 %` */
function less(loss: number, than: number): string {
  const percent = Math.round(100 * (loss / than - 1))
  return `${percent < 0 ? '−' : '+'}${Math.abs(percent)} %`
}

/** What layers lose on average of which each is drawn for one of the two best uniform choices around a size. */
function lossByChance(uniform: readonly Measured[], bits: number): number {
  const hull = lowerHull(uniform).map((i) => uniform[i])
  const next = hull.findIndex((each) => each.bits >= bits)
  if (next <= 0) return hull.at(next)?.loss ?? 0
  const [a, b] = [hull[next - 1], hull[next]]
  return a.loss + ((b.loss - a.loss) * (bits - a.bits)) / (b.bits - a.bits)
}

/** Of quantized layers, scales and zero points counted. */
function bitsPerWeight(model: CausalLM): number {
  const weights = [...model.parameters()].filter((each) => each instanceof QTensor)
  const sum = (of: (weight: QTensor) => number) => weights.reduce((total, each) => total + of(each), 0)
  return (8 * sum(({ byteLength }) => byteLength)) / sum(({ numel }) => numel)
}

/** Puts what was measured over what was recorded before. */
function record(name: string, rows: Record<string, string>[]): void {
  const results = new URL('results/budget.json', import.meta.url)
  const recorded = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')) : {}
  const [{ model }] = cpus()
  const machine = [{ date: new Date().toISOString().slice(0, 10), CPU: model, Node: process.version }]
  writeFileSync(results, `${JSON.stringify({ ...recorded, [name]: rows, machine }, null, 2)}\n`)
}
