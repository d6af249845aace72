import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { ggufBlockWriter } from '../../src/formats/schemes/ggufBlockWriter.ts'
import { bytesSource } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/index.ts'
import type { CausalLM, ForwardOptions } from '../../src/models/causalLM.ts'
import { generateTokens } from '../../src/models/generate.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { loadGguf } from './ggufModel.ts'
import { readExpected } from './golden.ts'
import { logitFactor } from './goldenChecks.ts'
import { writtenGguf } from './writtenGguf.ts'

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
      const logitsOf = async (model: CausalLM, ids: number[] | Tensor, options: ForwardOptions = {}) => {
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

      test('a batch of prompts of unequal length', async () => {
        using model = await load()
        const { batch, steps } = expected
        const capacity = Math.max(...batch.map(({ length }) => length)) + steps[0].length
        using cache = model.createCache(capacity, { batch: batch.length })
        const rows: number[][][] = []
        for (const [b, prompt] of batch.entries()) {
          using one = cache.sequence(b)
          rows.push([await logitsOf(model, prompt, { cache: one, lastOnly: true })])
        }
        for (const step of steps[0].keys()) {
          const next = Int32Array.from(steps, (ids) => ids[step])
          using ids = Tensor.fromArray(device, next, [batch.length, 1])
          const logits = await logitsOf(model, ids, { cache })
          const V = logits.length / batch.length
          for (const [b, found] of rows.entries()) found.push(logits.slice(b * V, (b + 1) * V))
        }
        check('batch', model, rows.flat(2))
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

      const file = join(golden, name, 'model.gguf')
      if (!existsSync(file)) return
      test('a GGUF file, and one that is written', async () => {
        using model = await loadCausalLM(file, { device, onWarning: () => {} })
        check('gguf', model, await logitsOf(model, expected.ids))
        const written = await writtenGguf(model, ggufBlockWriter)
        using again = await loadGguf(device, bytesSource(written, 'written.gguf'))
        check('gguf', again, await logitsOf(again, expected.ids))
      })
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
