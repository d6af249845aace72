import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { generateTokens } from '../../src/models/generate.ts'
import { type LoadOptions, loadCausalLM } from '../../src/models/load.ts'
import { setComputeDtype } from '../../src/nn/qmodule.ts'
import { deviceNames } from '../deviceNames.ts'
import { checkWeights } from '../models/goldenChecks.ts'
import { fetchModel } from './fetchModel.ts'

/*
 * SmolLM2's GGUF, and quanto's quantizations of it made while loading, beside what Python computed.
 * LOWBIT_FULL_GOLDEN=1 compares all windows of all variants on all devices; otherwise some of each.
 */

interface Expected {
  perplexity: number
  window_nll: number[]
  greedy_ids: number[]
  greedy_margins: number[]
  weight_stats: Record<string, [number, number, number]>
}

const golden = new URL('../golden/smollm2/', import.meta.url)
const truth: {
  context: number
  prompt_ids: number[]
  ppl_ids: number[]
  variants: Record<string, Expected>
} = JSON.parse(readFileSync(new URL('expected.json', golden), 'utf8'))
const full = process.env.LOWBIT_FULL_GOLDEN === '1'
const path = fetchModel()
const variants: Record<string, LoadOptions['quantization']> = {
  float: undefined,
  'quanto-qint8': { method: 'quanto', weights: 'int8' },
  'quanto-qint4': { method: 'quanto', weights: 'int4' },
  'quanto-qfloat8': { method: 'quanto', weights: 'float8' },
  'quanto-qint8-nolmhead': { method: 'quanto', weights: 'int8', exclude: 'lm_head' },
  'quanto-qint4-nolmhead': { method: 'quanto', weights: 'int4', exclude: 'lm_head' },
}
/** Types that compute in int8 as well. */
const integers = ['float', 'quanto-qint8', 'quanto-qint4']
const rows: string[][] = []

for (const name of deviceNames) {
  describe(`SmolLM2 on ${name}`, { timeout: 3_600_000 }, () => {
    const device = openDevice(name, { threads: 2 })
    after(() => device.close())
    // WebAssembly is slower: two of them say as much.
    const chosen = full || name === 'native' ? Object.keys(variants) : ['float', 'quanto-qint4-nolmhead']
    for (const variant of chosen) {
      test(variant, async () => {
        const expected = truth.variants[variant]
        using model = await loadCausalLM(path, { device, quantization: variants[variant] })
        await checkWeights(model, { ...expected, id: variant } as never, new Map())
        const logitError = await checkLastLogits(model, variant)
        const greedy = await checkGreedy(model, expected)
        const windows = full ? expected.window_nll.length : name === 'native' ? 2 : 1
        const float32 = await checkWindows(model, expected, windows)
        const row = [
          name,
          variant,
          String(Object.keys(expected.weight_stats).length),
          logitError.toExponential(1),
          String(greedy),
          float32.toFixed(4),
        ]
        if (integers.includes(variant)) {
          setComputeDtype(model, 'int8')
          const int8 = await windowPerplexity(model, windows)
          row.push(int8.toFixed(4), `${(100 * (int8 / float32 - 1)).toFixed(2)} %`)
          assert.ok(int8 < 1.01 * float32, `int8 compute: perplexity ${int8}, float32 ${float32}`)
        }
        rows.push(row)
      })
    }
    after(() => {
      const head = [
        'device',
        'variant',
        'weights equal',
        'logit error',
        'greedy equal',
        'perplexity float32',
        'int8',
        'cost',
      ]
      console.log([head, ...rows.splice(0)].map((row) => row.join(' | ')).join('\n'))
    })
  })
}

/** The first `windows` windows; each of them has Python's likelihood, whose figures have seven digits. */
async function checkWindows(model: CausalLM, expected: Expected, windows: number): Promise<number> {
  const { context, ppl_ids } = truth
  let sum = 0
  for (let window = 0; window < windows; window++) {
    const { nll } = await perplexity(model, ppl_ids.slice(context * window, context * (window + 1)), {
      context,
    })
    assert.ok(
      Math.abs(nll / expected.window_nll[window] - 1) < 1e-5,
      `window ${window}: ${nll}, not ${expected.window_nll[window]}`,
    )
    sum += nll
  }
  const whole = Math.exp(sum / windows)
  if (windows === expected.window_nll.length)
    assert.ok(Math.abs(whole / expected.perplexity - 1) < 1e-5, `perplexity ${whole}`)
  return whole
}

async function windowPerplexity(model: CausalLM, windows: number): Promise<number> {
  const { context, ppl_ids } = truth
  return (await perplexity(model, ppl_ids.slice(0, context * windows), { context })).perplexity
}

/**
 * The logits of the prompt's last token, within what two float32 programs of 30 layers may differ by: 1e-5 of
 * the largest.
 */
async function checkLastLogits(model: CausalLM, variant: string): Promise<number> {
  const theirs = new Float32Array(new Uint8Array(readFileSync(new URL(`${variant}.bin`, golden))).buffer)
  using logits = model.forward(truth.prompt_ids, { lastOnly: true })
  const ours = await logits.read()
  assert.equal(ours.length, theirs.length)
  const error = theirs.reduce((most, logit, i) => Math.max(most, Math.abs(Number(ours[i]) - logit)), 0)
  const largest = theirs.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0)
  assert.ok(error <= 1e-5 * largest, `logits differ by ${error}; the largest is ${largest}`)
  return error
}

/** Token for token up to the first near tie. */
async function checkGreedy(model: CausalLM, { greedy_ids, greedy_margins }: Expected): Promise<number> {
  const tie = greedy_margins.findIndex((margin) => margin < 1e-3)
  const count = tie < 0 ? greedy_ids.length : tie
  const ids: number[] = []
  for await (const id of generateTokens(model, truth.prompt_ids, {
    maxNewTokens: count,
    stopAtEos: false,
    computeDtype: 'float32',
  }))
    ids.push(id)
  assert.deepEqual(ids, greedy_ids.slice(0, count))
  return count
}
