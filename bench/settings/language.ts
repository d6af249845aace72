import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  bench,
  type CausalLM,
  calibrate,
  type Device,
  Embedding,
  freeze,
  hqq,
  Linear,
  loadCausalLM,
  memoryFootprint,
  openDevice,
  perplexity,
  type QuantizeOptions,
  quantize,
  scope,
  setComputeDtype,
} from '../../src/index.ts'
import { type Measures, megabytes, mostPerSecond, type Row } from './row.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const data = process.env.LOWBIT_DATA ?? join(root, '../shared/data')
const models = process.env.LOWBIT_MODELS ?? join(root, '../shared/models')

/** One choice; null keeps the model as it is loaded. */
interface Setting {
  name: string
  options: QuantizeOptions | null
  /** A second call. */
  second?: QuantizeOptions
  /** Computes products in int8, as `generate` does, when quality is measured. */
  int8?: boolean
  /** Keeps a GGUF file's own blocks. */
  asSaved?: boolean
  /** Measured in WebAssembly, too. */
  wasm?: boolean
}

/** A model, and the text that it is measured with. */
export interface Subject {
  place: () => string
  text: string
  /** Its last tokens, which are not scored, are what activations are calibrated on. */
  calibration: string
  /** Tokens of a window, and how many windows of the text are scored. */
  context: number
  windows: number
  settings: Setting[]
}

const calibrationTokens = 2048

/** What a large vocabulary makes large, in 8 bits; the rest in 4. */
const int8Ends = {
  options: { weights: 'int4', exclude: 'lm_head' },
  second: { weights: 'int8', layers: [Linear, Embedding] },
} satisfies Omit<Setting, 'name'>

export const stories260K: Subject = {
  place: () => join(root, 'models/stories260K'),
  text: join(root, 'models/tinystories.txt'),
  calibration: join(data, 'text/tinystories.txt'),
  context: 128,
  windows: 100,
  settings: [
    { name: 'float32', options: null, wasm: true },
    { name: 'float8', options: { weights: 'float8' } },
    { name: 'int8', options: { weights: 'int8' }, wasm: true },
    { name: 'int8, computed in int8', options: { weights: 'int8' }, int8: true },
    { name: 'int8, activations int8', options: { weights: 'int8', activations: 'int8' } },
    { name: 'int4', options: { weights: 'int4' }, wasm: true },
    { name: 'int4, embedding and lm_head int8', ...int8Ends },
    { name: 'int4, lm_head float', options: { weights: 'int4', exclude: 'lm_head' } },
    { name: 'int4, hqq', options: { weights: 'int4', algorithm: hqq() } },
    { name: 'int4, hqq, lm_head float', options: { weights: 'int4', algorithm: hqq(), exclude: 'lm_head' } },
    { name: 'int4, activations int8', options: { weights: 'int4', activations: 'int8' } },
    { name: 'int2, hqq', options: { weights: 'int2', algorithm: hqq() } },
  ],
}

export const smollm2: Subject = {
  place: () =>
    execFileSync(process.execPath, [join(root, 'scripts/fetch-smollm2.mjs')], { encoding: 'utf8' }).trim(),
  text: join(data, 'text/wikitext2-test.tokens.txt'),
  calibration: join(data, 'text/wikitext2-test.tokens.txt'),
  context: 512,
  windows: 8,
  settings: [
    { name: 'float16', options: null, wasm: true },
    { name: 'Q4_1, as in the file', options: null, asSaved: true, wasm: true },
    { name: 'Q4_1, computed in int8', options: null, asSaved: true, int8: true },
    { name: 'float8', options: { weights: 'float8' } },
    { name: 'int8', options: { weights: 'int8' } },
    { name: 'int8, lm_head float', options: { weights: 'int8', exclude: 'lm_head' }, wasm: true },
    {
      name: 'int8, lm_head float, computed in int8',
      options: { weights: 'int8', exclude: 'lm_head' },
      int8: true,
    },
    { name: 'int8, embedding too', options: { weights: 'int8', layers: [Linear, Embedding] } },
    { name: 'int8, activations int8', options: { weights: 'int8', activations: 'int8' } },
    { name: 'int4', options: { weights: 'int4' } },
    { name: 'int4, embedding and lm_head int8', ...int8Ends },
    { name: 'int4, lm_head float', options: { weights: 'int4', exclude: 'lm_head' }, wasm: true },
    { name: 'int4, lm_head float, hqq', options: { weights: 'int4', exclude: 'lm_head', algorithm: hqq() } },
    {
      name: 'int4, lm_head float, groups of 64',
      options: { weights: 'int4', exclude: 'lm_head', groupSize: 64 },
    },
    {
      name: 'int4, lm_head float, one scale a row',
      options: { weights: 'int4', exclude: 'lm_head', groupSize: null },
    },
  ],
}

export const shakespeare: Subject = {
  place: () => join(models, 'shakespeare-gpt2-1M'),
  text: join(data, 'text/tinyshakespeare.txt'),
  calibration: join(data, 'text/tinyshakespeare.txt'),
  context: 256,
  windows: 60,
  settings: [
    { name: 'float32', options: null },
    { name: 'int8', options: { weights: 'int8' } },
    { name: 'int4, one scale a row', options: { weights: 'int4', groupSize: null } },
    { name: 'int4, groups of 64', options: { weights: 'int4', groupSize: 64 } },
    { name: 'int4, groups of 32', options: { weights: 'int4', groupSize: 32 } },
    { name: 'int4, groups of 32, hqq', options: { weights: 'int4', groupSize: 32, algorithm: hqq() } },
    {
      name: 'int4, groups of 32, lm_head float',
      options: { weights: 'int4', groupSize: 32, exclude: 'lm_head' },
    },
    { name: 'int2, groups of 32', options: { weights: 'int2', groupSize: 32 } },
    { name: 'int2, groups of 32, hqq', options: { weights: 'int2', groupSize: 32, algorithm: hqq() } },
  ],
}

/**
 * Quality beside the model as it is loaded in floats; speed of decoding with products in int8, as `generate`
 * computes.
 */
export async function languageRows(subject: Subject, measures: Measures): Promise<Row[]> {
  const baseline = await load(subject, { name: '', options: null }, openDevice())
  const tokens = async (path: string) =>
    baseline.tokenizer?.encode(await readFile(path, 'utf8'), { addSpecialTokens: false }) ?? []
  const scored = (await tokens(subject.text)).slice(0, subject.windows * subject.context)
  const calibration = (await tokens(subject.calibration)).slice(-calibrationTokens)
  const rows: Row[] = []
  for (const setting of subject.settings) {
    if (!setting.name.includes(measures.only ?? '')) {
      rows.push({ setting: setting.name })
      continue
    }
    const model = await load(subject, setting, openDevice(), calibration)
    const parameters = [...model.parameters()].reduce((sum, { numel }) => sum + numel, 0)
    const bytes = memoryFootprint(model)
    const row: Row = {
      setting: setting.name,
      MB: megabytes(bytes),
      'bits/weight': ((8 * bytes) / parameters).toFixed(2),
      perplexity: '',
      KL: '',
      'same token': '',
      'tokens/s': '',
      WASM: '',
    }
    if (measures.quality) {
      if (setting.int8) setComputeDtype(model, 'int8')
      const score = await perplexity(model, scored, { context: subject.context, baseline })
      row.perplexity = score.perplexity.toFixed(3)
      row.KL = (score.klDivergence ?? 0).toFixed(4)
      row['same token'] = `${(100 * (score.top1Agreement ?? 0)).toFixed(1)} %`
    }
    model.dispose()
    if (measures.speed && !setting.int8) {
      row['tokens/s'] = await tokensPerSecond(subject, setting, 'native', calibration)
      if (setting.wasm) row.WASM = await tokensPerSecond(subject, setting, 'wasm', calibration)
    }
    console.error(Object.values(row).join('  '))
    rows.push(row)
  }
  baseline.dispose()
  return rows
}

async function load(
  subject: Subject,
  setting: Setting,
  device: Device,
  calibration: number[] = [],
): Promise<CausalLM> {
  const { place, context } = subject
  const path = place()
  const gguf = path.endsWith('.gguf') && !setting.asSaved
  const model = await loadCausalLM(path, gguf ? { device, dequantize: true, dtype: 'float16' } : { device })
  if (!setting.options) return model
  quantize(model, setting.options)
  if (setting.second) quantize(model, setting.second)
  if (setting.options.activations) {
    const windows = Array.from({ length: Math.floor(calibration.length / context) }, (_, i) =>
      calibration.slice(i * context, (i + 1) * context),
    )
    await calibrate(model, () => {
      for (const window of windows) scope(() => void model.forward(window))
    })
  }
  freeze(model)
  return model
}

/** Decoding 16 tokens, with products in int8. */
async function tokensPerSecond(
  subject: Subject,
  setting: Setting,
  name: 'native' | 'wasm',
  calibration: number[],
): Promise<string> {
  const device = openDevice(name, { threads: 1 })
  const model = await load(subject, setting, device, calibration)
  setComputeDtype(model, 'int8')
  const rate = await mostPerSecond(
    async () => (await bench(model, { promptTokens: 1, newTokens: 17, runs: 1 })).newTokens,
  )
  await device.close()
  return rate
}
