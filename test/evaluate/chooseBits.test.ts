import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import {
  type ChooseBitsOptions,
  chooseBits,
  gptq,
  initialize,
  Linear,
  loadCausalLM,
  Module,
  memoryFootprint,
  openDevice,
  quantizeCalibrated,
  type Tensor,
} from '../../src/index.ts'
import { deviceNames } from '../deviceNames.ts'

/* Bits by budget on models. */

const device = openDevice(deviceNames[0], { threads: 1 })
after(() => device.close())
const text = readFileSync('models/tinystories.txt', 'utf8').slice(0, 600)
const algorithm = gptq({ bits: 4, groupSize: 32, symmetric: false })
const include = ['model.layers.0.mlp.*', 'model.layers.3.self_attn.?_proj']

async function story() {
  const model = await loadCausalLM('models/stories260K', { device })
  const ids = model.tokenizer?.encode(text, { addSpecialTokens: false }) ?? []
  const data = [ids.slice(0, 32), ids.slice(32, 64)]
  return { model, data }
}

test('bits are those of codes, scales and zero points, and the mix is within its budget', async () => {
  const { model, data } = await story()
  const options = { algorithm, data, include, klSamples: 1 }
  const chosen = await chooseBits(model, { ...options, targetBits: 4.5 })
  // q_proj [64, 64]: 4096 codes, and for 128 groups a float16 and a byte.
  const q = chosen.layers.find(({ path }) => path === 'model.layers.3.self_attn.q_proj')
  assert.equal(q?.weights, 64 * 64)
  assert.deepEqual(
    q?.choices.map(({ override, bitsPerWeight }) => [override.bits, bitsPerWeight]),
    [2, 3, 4, 8].map((bits) => [bits, bits + (128 * (16 + 8)) / 4096]),
  )
  assert.ok(chosen.bitsPerWeight <= 4.5 && chosen.bitsPerWeight > 4)
  const [first, last] = [chosen.curve[0], chosen.curve.at(-1)]
  assert.ok(first.bitsPerWeight < chosen.bitsPerWeight && (last?.loss ?? 1) < chosen.loss)
  // The assignment is what quantizeCalibrated takes, and what is then in memory.
  await quantizeCalibrated(model, { algorithm, data, include, overrides: chosen.overrides })
  assert.equal(memoryFootprint(model), chosen.bytes)
  model.dispose()
})

test('a layer that is given an override keeps it, and its bits count', async () => {
  const { model, data } = await story()
  const overrides = { '*.down_proj': { bits: 8 }, '*.layers.3.*.k_proj': null }
  const options = { algorithm, data, include, overrides, klSamples: 1 }
  const chosen = await chooseBits(model, { ...options, targetBits: 5.5 })
  const down = chosen.layers.find(({ path }) => path === 'model.layers.0.mlp.down_proj')
  assert.deepEqual(
    down?.choices.map(({ override }) => override),
    [{ bits: 8 }],
  )
  assert.ok(chosen.layers.every(({ path }) => !path.endsWith('k_proj')))
  await quantizeCalibrated(model, { algorithm, data, include, overrides: chosen.overrides })
  assert.equal(memoryFootprint(model), chosen.bytes)
  model.dispose()
})

test('KL of all layers together stays below the one that was asked for', async () => {
  const { model, data } = await story()
  const options = { algorithm, data, include, klSamples: 1 }
  const chosen = await chooseBits(model, { ...options, maxKl: 0.01 })
  assert.ok(chosen.klDivergence !== null && chosen.klDivergence <= 0.01)
  const smaller = await chooseBits(model, { ...options, maxKl: 0.05 })
  assert.ok(smaller.bytes < chosen.bytes)
  const same = await chooseBits(model, { ...options, targetSize: chosen.bytes })
  assert.ok(same.bytes <= chosen.bytes && same.loss <= chosen.loss + 1e-9)
  model.dispose()
})

class Net extends Module {
  a = new Linear(32, 32, { bias: false })
  b = new Linear(32, 32, { bias: false })
  forward(x: Tensor): Tensor {
    return this.b.forward(this.a.forward(x))
  }
}

test('any module is weighed by the errors of outputs; budgets that it cannot have are refused', async () => {
  const model = initialize(new Net(), device, { seed: 1 })
  const data = [initialize(new Linear(32, 8, { bias: false }), device, { seed: 2 }).weight as Tensor]
  const choose = (options: Partial<ChooseBitsOptions>) => chooseBits(model, { algorithm, data, ...options })
  // 32 groups of 32 in each: 0.75 bits beside the codes.
  const { overrides, klDivergence } = await choose({
    targetBits: 3.75,
    candidates: [{ bits: 2 }, { bits: 4 }],
  })
  assert.deepEqual(
    Object.values(overrides)
      .map((each) => each?.bits)
      .sort(),
    [2, 4],
  )
  assert.equal(klDivergence, null)
  const refusals: [Partial<ChooseBitsOptions>, RegExp][] = [
    [{ targetBits: 2 }, /targetBits must be from 2\.75, the smallest .*, to 8\.75, the largest; received 2$/],
    [{ targetBits: 9 }, /targetBits must be from 2\.75, the smallest .*, to 8\.75, the largest; received 9$/],
    [
      { targetSize: 100 },
      /targetSize must be from 704 bytes, the smallest .*, to 2240, the largest; received 100$/,
    ],
    [{}, /one of targetBits, targetSize and maxKl must be given; received none$/],
    [{ targetBits: 3, maxKl: 1 }, /must be given; received targetBits and maxKl$/],
    [{ maxKl: 1 }, /maxKl is of a language model; received a Net$/],
    [{ targetBits: 3, data: [] }, /data must hold a sample; it has none$/],
  ]
  for (const [options, message] of refusals)
    await assert.rejects(choose(options), { name: 'ShapeError', message })
})
