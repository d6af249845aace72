import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { bench } from '../../src/evaluate/bench.ts'
import { type PerplexityOptions, perplexity } from '../../src/evaluate/perplexity.ts'
import { type GenerateOptions, generate, generateTokens } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { setComputeDtype } from '../../src/nn/qmodule.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { int8DynamicActivationInt8Weight } from '../../src/quantize/recipes.ts'
import { deviceNames } from '../deviceNames.ts'
import { kinds, loadGguf, storiesSource } from './ggufModel.ts'
import { inputs, manifest, stories } from './golden.ts'

/*
 * What int8 compute costs, kind by kind: `generate` and `bench` use it unless told otherwise, since it is
 * below 1 % of the perplexity that the exact path (float32, itself tested against Python's) gives.
 */
for (const name of deviceNames) {
  describe(`int8 compute on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(() => device.close())
    const cost = async (model: Awaited<ReturnType<typeof loadCausalLM>>, kind: string) => {
      const measure = (options: PerplexityOptions) =>
        perplexity(model, inputs.ppl_ids, { context: manifest.context, ...options })
      const [exact, fast] = [await measure({}), await measure({ computeDtype: 'int8' })]
      assert.deepEqual([exact.computeDtype, fast.computeDtype], ['float32', 'int8'])
      const change = fast.perplexity / exact.perplexity - 1
      console.log(
        `${name} ${kind}: perplexity ${exact.perplexity.toFixed(4)}, int8 compute ${(100 * change).toFixed(3)} %`,
      )
      assert.ok(Math.abs(change) < 0.01, `${kind}: ${change}`)
      assert.notEqual(change, 0, 'int8 compute must have been used')
      model.dispose()
    }
    for (const weights of ['int2', 'int4', 'int8'] as const) {
      test(`quanto ${weights}`, async () => {
        await cost(
          await loadCausalLM(stories, { device, quantization: { method: 'quanto', weights } }),
          weights,
        )
      })
    }
    for (const kind of kinds)
      test(`GGUF ${kind}`, async () => cost(await loadGguf(device, storiesSource(kind)), kind))

    test('generate and bench compute in int8, forward in float32, unless they are told otherwise; both say it', async () => {
      const quantization = { method: 'quanto', weights: 'int4' } as const
      using model = await loadCausalLM(stories, { device, quantization })
      const logits = async () => {
        using y = model.forward(inputs.prompt_ids, { lastOnly: true })
        return y.toNumbers()
      }
      const written = async (options: GenerateOptions = {}) => {
        const { tokenIds, computeDtype } = await generate(model, inputs.prompt, {
          maxNewTokens: 40,
          stopAtEos: false,
          ...options,
        })
        return { tokenIds, computeDtype }
      }
      const exact = await logits()
      const usual = await written()
      const float32 = await written({ computeDtype: 'float32' })
      assert.deepEqual([usual.computeDtype, float32.computeDtype], ['int8', 'float32'])
      const small = { promptTokens: 8, newTokens: 4, runs: 1 }
      assert.equal((await bench(model, small)).computeDtype, 'int8')
      assert.equal((await bench(model, { ...small, computeDtype: 'float32' })).computeDtype, 'float32')
      assert.deepEqual(await logits(), exact)
      // Between two tokens a forward pass is what it always is.
      const tokens = generateTokens(model, inputs.prompt_ids, { maxNewTokens: 3 })
      await tokens.next()
      assert.deepEqual(await logits(), exact)
      await tokens.return(undefined)
      const measured = (computeDtype?: 'int8') =>
        perplexity(model, inputs.ppl_ids.slice(0, 128), { context: 128, computeDtype })
      const fast = await measured('int8')
      assert.ok((await measured()).nll !== fast.nll, 'what a call was asked for ends with it')
      setComputeDtype(model, 'int8')
      assert.deepEqual(await measured(), fast, 'what a model is set to holds for all calls')
      assert.notDeepEqual(await logits(), exact)
      assert.deepEqual(await written(), usual)
      setComputeDtype(model, 'float32')
      assert.deepEqual(await written(), float32)
    })

    test('where no kernel multiplies integers, float32 is said', async () => {
      for (const weights of [undefined, 'float8'] as const) {
        const quantization = weights && ({ method: 'quanto', weights } as const)
        using model = await loadCausalLM(stories, { device, quantization })
        const { computeDtype } = await generate(model, inputs.prompt, {
          maxNewTokens: 2,
          computeDtype: 'int8',
        })
        assert.equal(computeDtype, 'float32')
        assert.equal(
          (await perplexity(model, inputs.ppl_ids.slice(0, 128), { context: 128, computeDtype: 'int8' }))
            .computeDtype,
          'float32',
        )
      }
    })

    test("a recipe's own precision is what every call computes in", async () => {
      using model = await loadCausalLM(stories, { device })
      quantize(model, { ...int8DynamicActivationInt8Weight(), exclude: 'lm_head' })
      freeze(model)
      const { computeDtype } = await generate(model, inputs.prompt, { maxNewTokens: 2 })
      assert.equal(computeDtype, 'int8PerToken')
      assert.equal(
        (await perplexity(model, inputs.ppl_ids.slice(0, 128), { context: 128 })).computeDtype,
        'int8PerToken',
      )
    })
  })
}
