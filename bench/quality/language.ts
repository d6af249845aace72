import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type CausalLM,
  chooseBits,
  loadCausalLM,
  openDevice,
  perplexity,
  quantizeCalibrated,
} from '../../src/index.ts'
import { type Asked, bitsPerWeight, cpuSeconds, measureCells } from './cells.ts'
import { recipes } from './recipes.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const data = process.env.LOWBIT_DATA ?? join(root, '../shared/data')
const models = process.env.LOWBIT_MODELS ?? join(root, '../shared/models')

/** A language model, its texts, and what it is measured by. */
export interface Subject {
  folder: string
  text: string
  /** Bytes from 0 on that are calibrated on, and those that are scored. */
  training: number
  test: readonly [start: number, end: number]
  context: number
  /** What a cell shows. */
  figure: 'perplexity' | 'klDivergence'
}

export const stories260K: Subject = {
  folder: 'stories260K',
  text: 'tinystories.txt',
  training: 400_000,
  test: [500_000, 514_000],
  context: 128,
  figure: 'perplexity',
}

/** Its perplexity is noise; KL from the float model is not. */
export const shakespeare: Subject = {
  folder: 'shakespeare-gpt2-1M',
  text: 'tinyshakespeare.txt',
  training: 1_000_000,
  test: [1_030_000, 1_044_000],
  context: 256,
  figure: 'klDivergence',
}

const samples = 512

/** Samples of the training part, of 128 tokens, evenly spread. */
export function samplesOf({ tokenizer }: CausalLM, text: string): number[][] {
  if (!tokenizer) throw new Error('bench:quality: the model must have a tokenizer')
  const ids = tokenizer.encode(text)
  const length = 128
  const count = Math.min(samples, Math.floor(ids.length / length))
  const apart = Math.floor(ids.length / count)
  return Array.from({ length: count }, (_, i) => [...ids.slice(i * apart, i * apart + length)])
}

/** Of the candidates of a layer, where bits are given by layer; groups of 32 and of 64. */
const candidates = [2, 3, 4, 8].flatMap((bits) => [32, 64].map((groupSize) => ({ bits, groupSize })))

/** Bits that codes, scales of 16 bits and zero points take in groups of 32. */
const counted = (bits: number) => bits + (16 + bits) / 32

/** What each recipe makes of a language model. */
export async function measureLanguage(subject: Subject, asked: Asked): Promise<void> {
  const { folder, text, training, test, context, figure } = subject
  const device = openDevice('cpu', { threads: 2 })
  const load = () => loadCausalLM(join(models, folder), { device, dtype: 'float32' })
  const bytes = await readFile(join(data, 'text', text))
  const scored = bytes.subarray(...test).toString()
  const baseline = await load()
  const calibration = samplesOf(baseline, bytes.subarray(0, training).toString())
  const exclude = 'lm_head'
  const { perplexity: float } = await perplexity(baseline, scored, { context })
  await measureCells(asked, {
    ...(figure === 'perplexity' ? { figure, float } : { figure: 'KL', float: 0 }),
    recipes: recipes.filter(({ wholeGroups }) => !(wholeGroups && subject === stories260K)),
    async measure({ algorithms, byLayer }, bits) {
      using model = await load()
      const algorithm = await algorithms(bits)
      const seconds = await cpuSeconds(async () => {
        const chosen = byLayer
          ? await chooseBits(model, {
              ...{ algorithm, exclude, candidates, targetBits: counted(bits) },
              ...{ data: calibration.slice(0, 64), klSamples: 16 },
            })
          : null
        await quantizeCalibrated(model, {
          algorithm,
          data: calibration,
          exclude,
          overrides: chosen?.overrides,
        })
      })
      const { [figure]: value } = await perplexity(model, scored, { context, baseline })
      return { bitsPerWeight: bitsPerWeight(model), value: value as number, seconds }
    },
  })
  baseline.dispose()
  await device.close()
}
