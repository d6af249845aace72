import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { type DeviceName, openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { setComputeDtype } from '../../src/nn/qmodule.ts'
import { kinds, loadGguf, storiesSource } from './ggufModel.ts'
import { inputs, manifest, stories } from './golden.ts'

/*
 * What int8 compute costs, kind by kind: `generate` and `bench` use it unless told otherwise, since it is below 1 % of the perplexity that
 * the exact path (float32, itself tested against Python's) gives.
 */
for (const name of (process.env.LOWBIT_DEVICES ?? 'native,wasm').split(',') as DeviceName[]) {
  describe(`int8 compute on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(() => device.close())
    const cost = async (model: Awaited<ReturnType<typeof loadCausalLM>>, kind: string) => {
      const measure = async () => (await perplexity(model, inputs.ppl_ids, { context: manifest.context })).perplexity
      const exact = await measure()
      setComputeDtype(model, 'int8')
      const change = (await measure()) / exact - 1
      console.log(`${name} ${kind}: perplexity ${exact.toFixed(4)}, int8 compute ${(100 * change).toFixed(3)} %`)
      assert.ok(Math.abs(change) < 0.01, `${kind}: ${change}`)
      assert.notEqual(change, 0, 'int8 compute must have been used')
      model.dispose()
    }
    for (const weights of ['int2', 'int4', 'int8'] as const) {
      test(`quanto ${weights}`, async () => {
        await cost(await loadCausalLM(stories, { device, quantization: { method: 'quanto', weights } }), weights)
      })
    }
    for (const kind of kinds) test(`GGUF ${kind}`, async () => cost(await loadGguf(device, storiesSource(kind)), kind))
  })
}
