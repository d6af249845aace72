import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import type { Device } from '../../src/devices/device.ts'
import { JsonObject } from '../../src/formats/json.ts'
import { type CacheType, caches } from '../../src/models/caches/index.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { GPT2LMHeadModel, parseGpt2Config } from '../../src/models/families/gpt2.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

const stories = fileURLToPath(new URL('../../models/stories260K', import.meta.url))
const capacity = 60
const text = (seed: number, length: number) => Array.from({ length }, (_, i) => (i * 31 + 17 * seed + 7) % 96)

/** Learned positions. */
function gpt2(device: Device): CausalLM {
  const sizes = { n_embd: 64, n_head: 4, n_layer: 2, n_positions: 64, vocab_size: 100 }
  const config = new JsonObject({ model_type: 'gpt2', ...sizes }, 'config.json')
  return initialize(new GPT2LMHeadModel(parseGpt2Config(config)), device, { seed: 4 }).eval()
}

/** Logits of the last of `ids` alone, in a cache of its own. */
async function alone(model: CausalLM, ids: readonly number[], kv: CacheType): Promise<number[]> {
  using cache = model.createCache(capacity, { kv, residual: 4 })
  using logits = model.forward(ids, { cache, lastOnly: true })
  return Array.from(await logits.toNumbers())
}

/**
 * Logits differ by roundings only: sums in other orders. A value of the cache may so round to the other side,
 * which moves logits by less than rounding all values does.
 */
async function assertNear(
  model: CausalLM,
  got: ArrayLike<number>,
  ids: readonly number[],
  kv: CacheType,
  message: string,
): Promise<void> {
  const [expected, floats] = [await alone(model, ids, kv), await alone(model, ids, 'float32')]
  const largest = Math.max(...expected.map(Math.abs))
  const stray = Math.max(...expected.map((value, i) => Math.abs(value - floats[i])))
  for (const [i, value] of expected.entries())
    assert.ok(Math.abs(got[i] - value) < 1e-5 * largest + stray, `${message}: ${got[i]}, expected ${value}`)
}

for (const [name, load] of [
  ['rotary', (device: Device) => loadCausalLM(stories, { device })],
  ['learned', gpt2],
] as const) {
  testOnDevices(`sequences of unequal length in one kept step: ${name} positions`, async (device) => {
    const model = await load(device)
    for (const kv of Object.keys(caches) as CacheType[]) {
      const batch = 3
      const cache = model.createCache(capacity, { kv, batch, residual: 4 })
      // The middle one comes later; the first is to go.
      const texts = [text(0, 21), text(1, 9), text(2, 5)]
      const enter = (b: number) => {
        using one = cache.sequence(b)
        one.length = 0
        model.forward(texts[b], { cache: one, lastOnly: true }).dispose()
      }
      enter(0)
      enter(2)
      const positions = Tensor.fromArray(device, new Int32Array(batch), [batch])
      const ids = Tensor.fromArray(device, new Int32Array(batch), [batch, 1])
      model.prepare(capacity)
      const { list, result } = device.capture(() => model.forward(ids, { cache, position: positions }))
      const present = [true, false, true]
      for (let step = 0; step < 14; step++) {
        if (step === 4) {
          enter(1)
          present[1] = true
        }
        if (step === 7) {
          // Another text takes the place of the first.
          texts[0] = text(5, 6)
          enter(0)
        }
        const next = texts.map((_, b) => (step * 7 + b * 3) % 96)
        ids.write(new Uint8Array(Int32Array.from(next).buffer))
        const places = cache.lengths.map((length, b) => (present[b] ? length : -1))
        positions.write(new Uint8Array(places.buffer))
        list.run()
        const logits = await result.toNumbers()
        const width = logits.length / batch
        for (let b = 0; b < batch; b++) {
          if (!present[b]) continue
          texts[b].push(next[b])
          cache.lengths[b]++
          const row = logits.subarray(b * width, (b + 1) * width)
          await assertNear(model, row, texts[b], kv, `${kv}, step ${step}, ${b}`)
        }
      }
      assert.deepEqual(
        [...cache.lengths],
        texts.map(({ length }) => length),
      )
      // Two tokens each, after their own lengths.
      const more = [3, 5, 8, 13, 21, 34]
      using pairs = Tensor.fromArray(device, Int32Array.from(more), [batch, 2])
      const logits = model.forward(pairs, { cache })
      const values = await logits.toNumbers()
      const width = values.length / batch / 2
      for (let b = 0; b < batch; b++) {
        const row = values.subarray((2 * b + 1) * width, (2 * b + 2) * width)
        await assertNear(model, row, [...texts[b], more[2 * b], more[2 * b + 1]], kv, `${kv}, two, ${b}`)
      }
      for (const one of [logits, result, list, positions, ids, cache]) one.dispose()
    }
    model.dispose()
    assert.equal(device.allocatedBytes, 0)
  })
}

testOnDevices('a cache of several sequences refuses what it has not', async (device) => {
  const model = await loadCausalLM(stories, { device })
  const cache = model.createCache(8, { batch: 2 })
  assert.throws(() => cache.sequence(2), {
    message: 'sequence: b must be a whole number in 0..1; received 2',
  })
  assert.throws(() => model.forward([1, 2], { cache }), {
    message: 'forward: the cache holds 2 sequences; received ids of 1',
  })
  {
    using one = cache.sequence(1)
    model.extend([1, 2, 3], one)
  }
  assert.deepEqual([...cache.lengths], [0, 3])
  const ids = Tensor.fromArray(device, new Int32Array(12), [2, 6])
  assert.throws(() => model.forward(ids, { cache }), {
    message: 'forward: the cache holds 8 tokens; received 6 behind 3',
  })
  const places = Tensor.fromArray(device, new Int32Array(3), [3])
  assert.throws(() => model.forward(ids, { cache, position: places }), {
    message: /position must be \[2\]; received \[3\]/,
  })
  for (const one of [ids, places, cache, model]) one.dispose()
  assert.equal(device.allocatedBytes, 0)
})
