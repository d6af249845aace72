import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { type CacheType, caches, makeCache } from '../../src/models/caches/index.ts'
import { generate, stream } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

const stories = fileURLToPath(new URL('../../models/stories260K', import.meta.url))
const text = (seed: number, length: number) =>
  Array.from({ length }, (_, i) => (i * 31 + 17 * seed + 7) % 512)

testOnDevices('a prompt that begins with what a cache holds is not read again', async (device) => {
  const model = await loadCausalLM(stories, { device })
  for (const kv of Object.keys(caches) as CacheType[]) {
    const cache = model.createCache(200, { kv, residual: 8 })
    const options = { maxNewTokens: 12, stopAtEos: false }
    const seen = [...text(0, 60)]
    for (const [more, reused] of [
      [[], 0],
      // All but the last new token, which no step has read; it may have been.
      [text(1, 20), 71],
      [[], 103],
    ] as const) {
      seen.push(...more)
      const held = cache.reusable(seen)
      assert.ok(held === reused || held === reused + 1, `${kv}: ${held} tokens, expected ${reused}`)
      const { tokenIds } = await generate(model, seen, { ...options, cache })
      const { tokenIds: anew } = await generate(model, seen, { ...options, kv, cache: undefined })
      if (kv === 'float32') assert.deepEqual(tokenIds, anew)
      assert.equal(tokenIds.length, 12)
      seen.push(...tokenIds)
    }
    // The same text once more: its last token is read anew.
    assert.ok(cache.reusable(seen) >= seen.length - 2)
    // Another text: from the start, or where both are the same as far as the cache goes back.
    const other = [...seen.slice(0, 30), ...text(9, 10)]
    assert.equal(cache.reusable(other), kv.startsWith('float') ? 30 : 0)
    const { tokenIds } = await generate(model, other, { ...options, cache })
    using fresh = model.createCache(200, { kv, residual: 8 })
    assert.deepEqual(tokenIds, (await generate(model, other, { ...options, cache: fresh })).tokenIds)
    // Whoever leaves half-way leaves a cache that says what it holds.
    const longer = [...other, ...tokenIds, ...text(3, 40)]
    for await (const { tokenId } of stream(model, longer, { ...options, cache })) {
      longer.push(tokenId)
      break
    }
    assert.ok(cache.reusable([...longer, 1]) >= longer.length - 1)
    cache.dispose()
  }
  model.dispose()
  assert.equal(device.allocatedBytes, 0)
})

testOnDevices('caches that do not fit are refused', async (device) => {
  const model = await loadCausalLM(stories, { device })
  const cache = model.createCache(20)
  await assert.rejects(generate(model, text(0, 15), { cache, maxNewTokens: 8 }), {
    name: 'ShapeError',
    message:
      "generate: the cache must hold one sequence of 22 tokens, the prompt's and new ones; it holds 1 of 20",
  })
  await assert.rejects(generate(model, text(0, 5), { cache, kv: 'int8', maxNewTokens: 2 }), {
    message: 'generate: a cache keeps what it was made for; received kv, too',
  })
  assert.throws(() => makeCache(device, [{ keyValueHeads: 1e4, headSize: 1e4 }], 1e6, { kv: 'float16' }), {
    name: 'DeviceError',
    message:
      /^createCache: keys and values of 1000000 tokens in float16 need 400000000 MB; there are \d+ MB on .*, so take fewer tokens or fewer bits \(kv\)$/,
  })
  const recent = model.createCache(20, { kv: 'int8', residual: 4 })
  model.extend(text(0, 12), recent)
  assert.throws(
    () => {
      recent.length = 10
    },
    {
      message:
        'length: a cache that keeps the last tokens in full must go back by one token, or to 0; received 10 of 12',
    },
  )
  // Nor by one token again and again, also where it is part of a larger cache.
  recent.length -= 1
  assert.equal(recent.goesBackTo(10), false)
  {
    using part = recent.sequence(0)
    assert.equal(part.goesBackTo(10), false)
  }
  recent.length = 0
  model.extend(text(0, 5), recent)
  assert.deepEqual([recent.goesBackTo(4), recent.goesBackTo(3)], [true, false])
  for (const one of [recent, cache, model]) one.dispose()
  assert.equal(device.allocatedBytes, 0)
})

testOnDevices('what a sequence lost goes with it to another row', async (device) => {
  const model = await loadCausalLM(stories, { device })
  const cache = model.createCache(20, { kv: 'int8', residual: 4, batch: 2 })
  {
    using one = cache.sequence(1)
    model.extend(text(0, 12), one)
    one.length -= 1
  }
  cache.moveSequence(1, 0)
  for (const [row, can] of [
    [0, false],
    [1, true],
  ] as const) {
    using one = cache.sequence(row)
    assert.equal(one.goesBackTo(10), can)
  }
  for (const one of [cache, model]) one.dispose()
})

testOnDevices('nothing of what another model computed is used', async (device) => {
  const model = await loadCausalLM(stories, { device })
  const other = await loadCausalLM(stories, { device })
  for (const [path, weight] of other.namedParameters())
    if (path.endsWith('v_proj.weight') && weight instanceof Tensor)
      weight.write(new Uint8Array(weight.byteLength))
  const cache = model.createCache(100, { kv: 'float32' })
  const options = { maxNewTokens: 12, stopAtEos: false }
  await generate(model, text(0, 40), { ...options, cache })
  const { tokenIds } = await generate(other, text(0, 40), { ...options, cache })
  const { tokenIds: alone } = await generate(other, text(0, 40), { ...options, kv: 'float32' })
  assert.deepEqual(tokenIds, alone)
  // Of a text that two models computed, neither knows all.
  model.extend([3], cache)
  assert.deepEqual([cache.isOf(model), cache.isOf(other)], [false, false])
  for (const one of [cache, model, other]) one.dispose()
})
