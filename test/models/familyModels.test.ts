import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { loadCausalLM } from '../../src/index.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { generateTokens } from '../../src/models/generate.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { deviceNames } from '../deviceNames.ts'
import { readExpected } from './golden.ts'
import { logitFactor } from './goldenChecks.ts'

/** What scripts/make-model-fixtures.py wrote: a folder for each family, and for each of its variants. */
const golden = join(import.meta.dirname, '../golden/models')

/** What transformers was asked of a model. */
interface Expected {
  ids: number[]
  /** How many of them are read at once; the others follow one by one. */
  prefill: number
  greedy: number[]
  batch: number[][]
  steps: number[][]
}

for (const name of readdirSync(golden)) {
  const expected: Expected = JSON.parse(readFileSync(join(golden, name, 'expected.json'), 'utf8'))
  const tensors = await readExpected(join(golden, name, 'expected.safetensors'))

  /** Compares logits, or the last rows of them, with what Python computed of `variant`. */
  function check(variant: string, model: CausalLM, logits: readonly number[]): void {
    const part = (key: string) => tensors.get(`${variant}.${key}`) ?? assert.fail(`${variant}.${key}`)
    const [python, high, low] = ['python', 'high', 'low'].map(part)
    const V = model.config.vocabularySize
    assert.ok(logits.length >= high.length)
    checkRows(logits.slice(-high.length), python, { high, low }, V)
  }

  for (const deviceName of deviceNames) {
    describe(`${name} on ${deviceName}`, () => {
      const device = openDevice(deviceName, { threads: 2 })
      after(async () => {
        assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
        await device.close()
      })
      const load = () => loadCausalLM(join(golden, name), { device, dtype: 'float32' })
      const logitsOf = async (model: CausalLM, ids: number[], options = {}) => {
        using logits = model.forward(ids, options)
        return [...(await logits.toNumbers())]
      }

      test('a prompt, and tokens one by one over a cache', async () => {
        using model = await load()
        const { ids, prefill } = expected
        check('float', model, await logitsOf(model, ids))
        using cache = model.createCache(ids.length)
        const found = await logitsOf(model, ids.slice(0, prefill), { cache })
        for (const id of ids.slice(prefill)) found.push(...(await logitsOf(model, [id], { cache })))
        check('float', model, found)
      })

      test('sequences of unequal length, as in a batch that is padded', async () => {
        using model = await load()
        const found: number[] = []
        for (const [i, prompt] of expected.batch.entries()) {
          using cache = model.createCache(prompt.length + expected.steps[i].length)
          found.push(...(await logitsOf(model, prompt, { cache, lastOnly: true })))
          for (const id of expected.steps[i]) found.push(...(await logitsOf(model, [id], { cache })))
        }
        check('batch', model, found)
      })

      test('greedy tokens', async () => {
        using model = await load()
        const found: number[] = []
        const { greedy, ids } = expected
        const choice = { maxNewTokens: greedy.length, stopAtEos: false, computeDtype: 'float32' } as const
        for await (const id of generateTokens(model, ids.slice(0, 6), choice)) found.push(id)
        assert.deepEqual(found, greedy)
      })

      for (const weights of ['int8', 'int4'] as const) {
        test(`with ${weights} weights, as with the floats that they stand for`, async () => {
          using model = await load()
          quantize(model, { weights, exclude: 'lm_head' })
          freeze(model)
          check(weights, model, await logitsOf(model, expected.ids))
        })
      }
    })
  }
}

/**
 * At every position our largest error against the float64 logits is at most `logitFactor` times PyTorch's, as
 * in `checkLogits`; a position at which PyTorch is nearer to them than at half of all counts as the one in the
 * middle, since among thousands of positions it is at some next to them by chance.
 */
function checkRows(
  ours: readonly number[],
  python: Float32Array,
  { high, low }: { high: Float32Array; low: Float32Array },
  V: number,
): void {
  const rows = Array.from({ length: high.length / V }, (_, row) => {
    const error = (values: ArrayLike<number>) =>
      Math.max(
        ...Array.from({ length: V }, (_, i) => row * V + i).map((i) =>
          Math.abs(values[i] - high[i] - low[i]),
        ),
      )
    return { own: error(ours), theirs: error(python) }
  })
  const middle = rows.map(({ theirs }) => theirs).sort((a, b) => a - b)[rows.length >> 1]
  for (const [position, { own, theirs }] of rows.entries()) {
    const bound = logitFactor * Math.max(theirs, middle)
    assert.ok(
      own <= bound,
      `logits at ${position}: error ${own}, PyTorch's is ${theirs}, ${middle} in the middle`,
    )
  }
  // PyTorch itself is near the truth, or the truth is not one.
  assert.ok(middle < 1e-5 * Math.max(...high.map(Math.abs)), `PyTorch's own error is ${middle}`)
}
