// What the examples of calibrated quantization share: a small model, and a text whose beginning it is quantized
// on and whose end it is measured on.
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'
import { type CausalLM, memoryFootprint, perplexity } from 'lowbit'

const models = fileURLToPath(new URL('../models', import.meta.url))

/** 260,000 weights that write stories for children, and 14,000 bytes of such stories. */
export const stories = `${models}/stories260K`
const storiesText = `${models}/tinystories.txt`

/** Options that all of these examples have. */
export const textFlags = {
  text: ['', 'file whose first two thirds are for calibration and whose last third is measured'],
  samples: [64, 'how many windows of it the model sees'],
  length: [128, 'tokens of a window'],
  prompt: ['Once upon a time', 'what the quantized model goes on with'],
} as const

/** The two parts of a text; default: of the stories. */
export async function readParts(file: string): Promise<{ calibration: string; test: string }> {
  const text = await readFile(file || storiesText, 'utf8')
  const cut = text.indexOf('\n', Math.floor((text.length * 2) / 3)) + 1 || text.length
  return { calibration: text.slice(0, cut), test: text.slice(cut) }
}

/** A table of models: the bytes of each, its perplexity, and how far its guesses are from the float model's. */
export class Comparison {
  private readonly table: InstanceType<typeof Table>
  private readonly float: CausalLM
  private readonly text: string
  private readonly context: number

  /** @param more headings of figures that the example measures itself */
  constructor(float: CausalLM, text: string, context: number, ...more: string[]) {
    const head = ['', 'bytes', 'perplexity', 'KL', 'same guess', ...more]
    const colAligns = head.map((heading) => (heading === '' ? 'left' : 'right'))
    this.table = new Table({ head, colAligns, style: { head: [], border: [] } })
    this.float = float
    this.text = text
    this.context = context
  }

  async add(name: string, model: CausalLM, ...more: string[]): Promise<void> {
    const baseline = model === this.float ? undefined : this.float
    const measured = await perplexity(model, this.text, { context: this.context, baseline })
    const { perplexity: shown, klDivergence = 0, top1Agreement = 1 } = measured
    this.table.push([
      name,
      memoryFootprint(model),
      shown.toFixed(3),
      klDivergence.toFixed(4),
      `${(100 * top1Agreement).toFixed(1)} %`,
      ...more,
    ])
  }

  toString(): string {
    return this.table.toString()
  }
}
