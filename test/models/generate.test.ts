import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openDevice } from '../../src/devices/open.ts'
import { generate } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { nextChunk } from '../../src/models/prefill.ts'
import type { MLPLike } from '../../src/nn/layerLike.ts'
import { backward } from '../../src/tensor/backward.ts'
import { sum } from '../../src/tensor/ops/index.ts'
import { keep, scope } from '../../src/tensor/scope.ts'
import { noGrad } from '../../src/tensor/tape.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'

const stories = fileURLToPath(new URL('../../models/stories260K', import.meta.url))

test('what is streamed is what is returned', async () => {
  const device = openDevice('cpu', { threads: 1 })
  const model = await loadCausalLM(stories, { device })
  for (const options of [{}, { temperature: 1.5, seed: 3 }, { temperature: 3, seed: 5 }]) {
    const pieces: [text: string, id: number][] = []
    const onText = (text: string, id: number) => void pieces.push([text, id])
    const { text, tokenIds } = await generate(model, 'Once', { ...options, maxNewTokens: 100, onText })
    assert.equal(pieces.map(([piece]) => piece).join(''), text)
    assert.ok(pieces.every(([piece, id]) => piece !== '' && tokenIds.includes(id)))
  }
  model.dispose()
  await device.close()
})

test('chunks of a prompt take 150 ms, in steps of 32 tokens', () => {
  // 32 tokens in 50 ms: 96 in 150 ms.
  assert.equal(nextChunk(32, 50), 96)
  // 149 tokens in 150 ms.
  assert.equal(nextChunk(96, 97), 128)
  // A little fast or slow: kept.
  assert.equal(nextChunk(96, 101), 96)
  assert.equal(nextChunk(96, 199), 96)
  // 71 tokens in 150 ms.
  assert.equal(nextChunk(96, 201), 64)
  // Never below 32 or above 512, however slow or fast.
  assert.equal(nextChunk(32, 5000), 32)
  assert.equal(nextChunk(512, 0), 512)
})

test('a layer gives back the memory of what it took, but where it is kept or trained', async () => {
  const device = openDevice('cpu', { threads: 1 })
  const model = await loadCausalLM(stories, { device })
  const ids = Array.from({ length: 100 }, (_, i) => i + 3)
  const bytes: number[] = []
  const layers = [...model.namedModules()].filter(([path]) => /layers\.\d+$/.test(path))
  for (const [path] of layers) {
    const mlp = model.getModule(`${path}.mlp`) as MLPLike
    const { forward } = mlp
    mlp.forward = (x) => {
      bytes.push(device.allocatedBytes)
      return forward.call(mlp, x)
    }
  }
  const run = () => scope(() => void noGrad(() => model.forward(ids)))
  run()
  assert.equal(bytes.length, 5)
  assert.equal(new Set(bytes.splice(0)).size, 1)

  // What is kept stays.
  const given: Tensor[] = []
  const ends = layers.map(([, layer]) => layer.observe((y) => given.push(keep(y as Tensor))))
  run()
  assert.equal((await Promise.all(given.map((y) => y.readBytes()))).length, 5)
  for (const y of given) y.dispose()
  for (const end of ends) end()
  bytes.length = 0

  // The way back needs all of them.
  const parameter = model.getParameter('model.embed_tokens.weight')
  assert.ok(parameter instanceof Tensor)
  parameter.requiresGrad = true
  backward(() => sum(model.forward(ids)))
  assert.ok(parameter.grad)
  assert.ok(new Set(bytes).size > 1)
  model.dispose()
  await device.close()
})

test('the last layer computes of a prompt its last token alone', async () => {
  const device = openDevice('cpu', { threads: 1 })
  const model = await loadCausalLM(stories, { device })
  const tokens: number[] = []
  for (const [path, module] of model.namedModules()) {
    if (!path.endsWith('.mlp')) continue
    const mlp = module as MLPLike
    const { forward } = mlp
    mlp.forward = (x) => {
      tokens.push(x.size(1))
      return forward.call(mlp, x)
    }
  }
  const cache = model.createCache(20)
  model.extend([1, 2, 3, 4, 5, 6, 7], cache)
  model.forward([8, 9, 10], { cache, lastOnly: true }).dispose()
  model.forward([11, 12, 13, 14], { cache }).dispose()
  assert.deepEqual(tokens, [7, 7, 7, 7, 1, 3, 3, 3, 3, 1, 4, 4, 4, 4, 4])
  cache.dispose()
  model.dispose()
  await device.close()
})

for (const name of deviceNames) {
  describe(`on ${name}`, () => {
    test('a cache that was extended gives the logits of the whole prompt', async () => {
      const device = openDevice(name, { threads: 2 })
      const model = await loadCausalLM(stories, { device })
      const prompt = Array.from({ length: 40 }, (_, i) => (i * 31 + 7) % 512)
      const whole = model.forward(prompt, { lastOnly: true })
      const cache = model.createCache(prompt.length)
      model.extend(prompt.slice(0, 25), cache)
      assert.equal(cache.length, 25)
      const last = model.forward(prompt.slice(25), { cache, lastOnly: true })
      const [expected, got] = [(await whole.read()) as Float32Array, (await last.read()) as Float32Array]
      // Blocks of attention lie differently; float32 sums of five layers in another order.
      const largest = Math.max(...expected.map(Math.abs))
      for (const [i, value] of got.entries())
        assert.ok(Math.abs(value - expected[i]) < 1e-5 * largest, `logit ${i}`)
      for (const tensor of [whole, last]) tensor.dispose()
      cache.dispose()
      model.dispose()
      assert.equal(device.allocatedBytes, 0)
      await device.close()
    })
  })
}
