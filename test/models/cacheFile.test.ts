import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { loadCache, saveCache } from '../../src/models/caches/cacheFile.ts'
import { type CacheType, caches } from '../../src/models/caches/index.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

const stories = fileURLToPath(new URL('../../models/stories260K', import.meta.url))
const folder = await mkdtemp(join(tmpdir(), 'lowbit-cache-'))
after(() => rm(folder, { recursive: true }))
const text = (seed: number, length: number) =>
  Array.from({ length }, (_, i) => (i * 31 + 17 * seed + 7) % 512)

testOnDevices('a cache is saved, and goes on where it was, with more room', async (device) => {
  const model = await loadCausalLM(stories, { device })
  for (const kv of Object.keys(caches) as CacheType[]) {
    for (const [length, capacity] of [
      [5, 40],
      [90, 100],
      [100, 100],
    ] as const) {
      const file = join(folder, `${encodeURIComponent(device.name)}-${kv}-${length}.safetensors`)
      const options = { kv, residual: 64 }
      using cache = model.createCache(capacity, options)
      model.extend(text(0, length), cache)
      await saveCache(model, cache, file)
      using loaded = await loadCache(model, file, { capacity: 300 })
      assert.deepEqual([loaded.capacity, loaded.length], [300, length])
      assert.equal(loaded.reusable([...text(0, length), 1]), length)
      // One that was large from the start.
      using whole = model.createCache(300, options)
      model.extend(text(0, length), whole)
      for (const more of [text(1, 150), [3]]) {
        const [a, b] = [loaded, whole].map((one) => model.forward(more, { cache: one }))
        assert.deepEqual(await a.toNumbers(), await b.toNumbers(), `${kv} of ${length}`)
        for (const one of [a, b]) one.dispose()
      }
    }
  }
  model.dispose()
  assert.equal(device.allocatedBytes, 0)
})

testOnDevices('several sequences, and files that are refused', async (device) => {
  const model = await loadCausalLM(stories, { device })
  const file = join(folder, `${encodeURIComponent(device.name)}-batch.safetensors`)
  using cache = model.createCache(20, { kv: 'int8', batch: 2 })
  for (const b of [0, 1]) {
    using one = cache.sequence(b)
    model.extend(text(b, 4 + b), one)
  }
  await saveCache(model, cache, file)
  {
    using loaded = await loadCache(model, file)
    assert.deepEqual([...loaded.lengths], [4, 5])
    assert.deepEqual(loaded.tokenIds, [text(0, 4), text(1, 5)])
  }
  await assert.rejects(loadCache(model, file, { capacity: 4 }), {
    name: 'ShapeError',
    message: 'loadCache: the cache holds 5 tokens; received a capacity of 4',
  })
  const other = await loadCausalLM(stories, { device, quantization: { method: 'quanto', weights: 'int8' } })
  await assert.rejects(loadCache(other, file), {
    name: 'FormatError',
    message: /must be a cache of this model, LlamaForCausalLM \w{16}; it is one of LlamaForCausalLM \w{16}$/,
  })
  await assert.rejects(loadCache(model, join(stories, 'model.safetensors')), {
    message: /must be a cache, as saveCache writes it; it is another file$/,
  })
  const bytes = await readFile(file)
  const broken = join(folder, 'broken.safetensors')
  await writeFile(broken, bytes.toString('latin1').replace('[4,5]', '[4,"]'), 'latin1')
  await assert.rejects(loadCache(model, broken), { name: 'FormatError' })
  await writeFile(broken, bytes.subarray(0, bytes.length - 8))
  await assert.rejects(loadCache(model, broken), { name: 'FormatError' })
  for (const one of [other, model]) one.dispose()
})

testOnDevices('a cache of a model of which one matrix is another is refused', async (device) => {
  for (const quantization of [undefined, { method: 'quanto', weights: 'int8' } as const]) {
    const file = join(folder, `${encodeURIComponent(device.name)}-tuned-${quantization?.weights}.safetensors`)
    const [model, tuned] = [
      await loadCausalLM(stories, { device, quantization }),
      await loadCausalLM(stories, { device, quantization }),
    ]
    using cache = model.createCache(20)
    model.extend(text(0, 4), cache)
    await saveCache(model, cache, file)
    ;(await loadCache(tuned, file)).dispose()
    const [, matrix] = [...tuned.namedParameters()].find(([path]) => path.endsWith('up_proj.weight')) ?? []
    assert.ok(matrix)
    const values = matrix instanceof QTensor ? matrix.codeTiles : matrix
    values.write((await values.readBytes()).map((byte) => byte ^ 1))
    await assert.rejects(loadCache(tuned, file), {
      name: 'FormatError',
      message: /must be a cache of this model/,
    })
    for (const one of [model, tuned]) one.dispose()
  }
})

testOnDevices('a saved cache goes back no further than the one that was saved', async (device) => {
  const file = join(folder, `${encodeURIComponent(device.name)}-back.safetensors`)
  const model = await loadCausalLM(stories, { device })
  using cache = model.createCache(20, { kv: 'int8', residual: 4 })
  model.extend(text(0, 12), cache)
  cache.length -= 1
  await saveCache(model, cache, file)
  using loaded = await loadCache(model, file)
  assert.deepEqual([loaded.length, loaded.goesBackTo(10), loaded.isOf(model)], [11, false, true])
  model.dispose()
})
