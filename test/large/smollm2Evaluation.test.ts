import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { evaluateTask } from '../../src/evaluate/evaluateTask.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { type LoadOptions, loadCausalLM } from '../../src/models/load.ts'
import { deviceNames } from '../deviceNames.ts'
import { data } from '../examples/data.ts'
import { fetchModel } from './fetchModel.ts'

/*
 * Perplexity and Lambada of SmolLM2's GGUF in float32, beside what transformers computed with the dequantized
 * weights (scripts/make-smollm2-evaluation.py). LOWBIT_FULL_GOLDEN=1 takes all windows of the text, and all 500
 * passages, of LOWBIT_DATA.
 */

const golden = new URL('../golden/smollm2/', import.meta.url)
interface Figures {
  perplexity: number
  tokens: number
}
const truth: {
  context: number
  windows: number[]
  whole: Figures
  /** Of each passage, and by how much the last word's least likely token leads the likeliest other one. */
  lambada: { items: object[]; logLikelihoods: number[]; margins: number[] }
} = JSON.parse(readFileSync(new URL('evaluation.json', golden), 'utf8'))
/** The first 32,000 tokens of WikiText-2's test split, uint16. */
const ids = Array.from(
  new Uint16Array(new Uint8Array(readFileSync(new URL('wikitext-ids.bin', golden))).buffer),
)
const passages = join(data, 'text/lambada_test.jsonl')
const full = process.env.LOWBIT_FULL_GOLDEN === '1'
const floats: LoadOptions = { dequantize: true }

/** Negative log-likelihoods of two float32 programs, which differ in the sixth digit. */
const close = (ours: number, theirs: number) =>
  assert.ok(Math.abs(ours / theirs - 1) < 1e-5, `${ours}, not ${theirs}`)

for (const name of deviceNames)
  describe(`evaluation of SmolLM2 on ${name}`, { timeout: 3_600_000 }, async () => {
    const device = openDevice(name, { threads: 2 })
    const model = await loadCausalLM(fetchModel(), { ...floats, device })
    after(() => {
      model.dispose()
      return device.close()
    })

    // WebAssembly is slower: one window says as much.
    if (name === 'native') {
      test("perplexity of four windows, or of all, is transformers'", async () => {
        const { context, windows, whole } = truth
        const count = full ? windows.length : 4
        const some = full ? ids : ids.slice(0, count * context)
        const { perplexity: ours, nll, tokens } = await perplexity(model, some, { context })
        close(nll, windows.slice(0, count).reduce((sum, window) => sum + window, 0) / count)
        if (!full) return
        assert.equal(tokens, whole.tokens)
        assert.equal(ours.toPrecision(4), whole.perplexity.toPrecision(4))
      })

      test("the last windows by transformers' definition, which scores an incomplete one", async () => {
        const { context } = truth
        const rest = ids.length % context
        const { nll, tokens } = await perplexity(model, ids.slice(-context - rest), {
          ...{ context, definition: 'transformers' },
        })
        assert.equal(tokens, context - 1 + rest - 1)
        const [last, incomplete] = truth.windows.slice(-2)
        close(nll, (last * (context - 1) + incomplete * (rest - 1)) / tokens)
      })
    } else
      test('the likelihood of a window', async () => {
        const { context, windows } = truth
        close((await perplexity(model, ids.slice(0, context), { context })).nll, windows[0])
      })

    test('last words of Lambada, but for near ties', async () => {
      const all = full && existsSync(passages)
      const lines = all ? readFileSync(passages, 'utf8').trim().split('\n').slice(0, 500) : []
      const items = all ? lines.map((line) => JSON.parse(line)) : truth.lambada.items
      const margins = truth.lambada.margins.slice(0, items.length)
      const { accuracy, perplexity: ofWords } = await evaluateTask(model, 'lambada', items)
      const right = margins.filter((margin) => margin > 0).length
      const ties = margins.filter((margin) => Math.abs(margin) < 1e-3).length
      const ours = Math.round(accuracy * items.length)
      assert.ok(Math.abs(ours - right) <= Math.min(ties, 1), `${ours} right, not ${right}, ${ties} near ties`)
      const likelihoods = truth.lambada.logLikelihoods.slice(0, items.length)
      const mean = likelihoods.reduce((sum, value) => sum + value, 0) / items.length
      close(Math.log(Number(ofWords)), -mean)
    })
  })
