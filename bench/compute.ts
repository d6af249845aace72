// npm run bench:compute -- [stories260K] [smollm2] [--only PART] [--record]
//
// What the precision of products costs, for every kind of weights: perplexity of a language model computed in
// float32, bfloat16 and int8 with the very same weights, and KL from the float32 computation. Some minutes on
// two cores. --only takes the kinds whose name has this part; --record merges the rows into
// bench/results/compute.json and remakes the tables of the documentation.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import {
  type CausalLM,
  type ComputeDType,
  type Device,
  freeze,
  type GgufQuantizedType,
  ggufQuantizer,
  Linear,
  loadCausalLM,
  openDevice,
  perplexity,
  type QuantizeOptions,
  quantize,
} from '../src/index.ts'
import { ggufCodes } from '../src/quantize/ggufQuantizers.ts'
import { type Row, text } from './peers/report.ts'
import { type Subject, smollm2, stories260K } from './settings/language.ts'

const subjects: Record<string, Subject & { superBlocks: boolean }> = {
  stories260K: { ...stories260K, windows: 40, superBlocks: false },
  smollm2: { ...smollm2, windows: 2, superBlocks: true },
}
/** What is measured beside float32. */
const computeDtypes: readonly ComputeDType[] = ['bfloat16', 'int8']

/** GGUF's quantizers choose groups by themselves; rows that are no whole blocks of any type stay float. */
const gguf = (type: GgufQuantizedType): QuantizeOptions => ({
  weights: ggufCodes(type),
  groupSize: null,
  algorithm: ggufQuantizer(type),
})
const plainBlocks = ['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'IQ4_NL', 'MXFP4'] as const
const superBlocks = ['Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K'] as const

const kinds: Record<string, QuantizeOptions> = {
  'int8, a scale a row': { weights: 'int8' },
  'int4, groups of 32': { weights: 'int4', groupSize: 32 },
  'int4, groups of 64': { weights: 'int4', groupSize: 64 },
  'int4, a scale a row': { weights: 'int4', groupSize: null },
  'int3, groups of 32': { weights: 'int3', groupSize: 32 },
  'int2, groups of 32': { weights: 'int2', groupSize: 32 },
  float8: { weights: 'float8' },
  nf4: { weights: 'nf4' },
  fp4: { weights: 'fp4' },
  ...Object.fromEntries([...plainBlocks, ...superBlocks].map((type) => [type, gguf(type)])),
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string', default: '' }, record: { type: 'boolean', default: false } },
})
const device = openDevice()
for (const name of positionals.length > 0 ? positionals : Object.keys(subjects)) {
  const subject = subjects[name]
  if (!subject) throw new Error(`bench:compute: takes ${Object.keys(subjects).join(', ')}; received ${name}`)
  const rows: Row[] = []
  for (const [kind, options] of Object.entries(kinds)) {
    // Where no row has 256 columns, K-quants become the types above them.
    if (!kind.includes(values.only) || (kind.endsWith('_K') && !subject.superBlocks)) continue
    rows.push(await measure(subject, kind, options))
    process.stderr.write(`${Object.values(rows[rows.length - 1]).join(' | ')}\n`)
  }
  console.log(`${name}\n${text(rows)}`)
  if (values.record) record(name, rows)
}
await device.close()

async function measure(subject: Subject, kind: string, options: QuantizeOptions): Promise<Row> {
  const exact = await load(subject, options, device)
  const model = await load(subject, options, device)
  const { context, windows } = subject
  const ids = exact.tokenizer?.encode(readFileSync(subject.text, 'utf8'), { addSpecialTokens: false }) ?? []
  const scored = ids.slice(0, windows * context)
  const float32 = await perplexity(exact, scored, { context, computeDtype: 'float32' })
  const row: Row = { weights: kind, float32: float32.perplexity.toFixed(3) }
  for (const computeDtype of computeDtypes) {
    const score = await perplexity(model, scored, { context, computeDtype, baseline: exact })
    row[computeDtype] = score.perplexity.toFixed(3)
    row[`${computeDtype}, KL`] = (score.klDivergence ?? 0).toFixed(5)
  }
  exact.dispose()
  model.dispose()
  return row
}

async function load(subject: Subject, options: QuantizeOptions, device: Device): Promise<CausalLM> {
  const path = subject.place()
  const model = await loadCausalLM(
    path,
    path.endsWith('.gguf') ? { device, dequantize: true, dtype: 'float16' } : { device },
  )
  quantize(model, { ...options, exclude: unfitting(model, options) })
  freeze(model)
  return model
}

/** Layers whose rows are no whole groups. */
function unfitting(model: CausalLM, { algorithm, groupSize }: QuantizeOptions): string[] {
  const least = typeof algorithm === 'object' ? 32 : (groupSize ?? 1)
  return [...model.namedModules()]
    .filter(([, layer]) => layer instanceof Linear && layer.weight.shape[1] % least !== 0)
    .map(([path]) => path)
}

/** Puts the rows over those recorded before of the same weights. */
function record(name: string, rows: Row[]): void {
  const results = new URL('results/compute.json', import.meta.url)
  const recorded: Record<string, Row[]> = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')) : {}
  const known = new Map([...(recorded[name] ?? []), ...rows].map((row) => [row.weights, row]))
  recorded[name] = Object.keys(kinds).flatMap((kind) => (known.has(kind) ? [known.get(kind) as Row] : []))
  const date = new Date().toISOString().slice(0, 10)
  recorded.machine = [{ date, CPU: `${cpus().length} × ${cpus()[0].model}`, device: device.name }]
  writeFileSync(results, `${JSON.stringify(recorded, null, 2)}\n`)
  execFileSync(process.execPath, [fileURLToPath(new URL('../scripts/readme.mjs', import.meta.url))], {
    stdio: 'inherit',
  })
}
