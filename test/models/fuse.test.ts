import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { DecodeStep } from '../../src/models/decodeStep.ts'
import { fuse } from '../../src/models/fuse.ts'
import { generate } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { computeIn } from '../../src/nn/computeDtype.ts'
import { golden } from '../golden.ts'

/*
 * A fused model gives what it gave before, bit for bit, takes fewer calls for it, and is saved as it was.
 */

const device = openDevice('cpu', { threads: 2 })
after(async () => {
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})
const stories = 'models/stories260K'
const quantization = { method: 'quanto', weights: 'int4' } as const

/** Logits of a prompt, and of steps in float32 and in int8. */
async function logits(model: CausalLM): Promise<number[]> {
  using cache = model.createCache(8)
  const all: number[] = []
  for (const [usual, ids] of [
    ['float32', [5, 3, 9]],
    ['float32', [7]],
    ['int8', [8]],
  ] as const) {
    using y = computeIn(model, { usual })(() => model.forward(ids, { cache }))
    all.push(...(await y.toNumbers()))
  }
  return all
}

/** How many kernels a step of generation runs. */
function callsOfStep(model: CausalLM): number {
  using cache = model.createCache(8)
  using step = computeIn(model, { usual: 'int8' })(() => new DecodeStep(model, cache))
  return (Reflect.get(step, 'list') as { length: number }).length
}

/** The layers of a model that take the same inputs, experts' apart, which are multiplied by expert. */
function siblings(model: CausalLM): string[] {
  return [...model.namedModules()]
    .map(([path]) => path)
    .filter((path) => /\.(q_proj|k_proj|v_proj|gate_proj|up_proj)$/.test(path) && !/experts\.\d/.test(path))
}

describe('logits of the fused model are those before, bit for bit', () => {
  for (const name of readdirSync(join(golden, 'models'))) {
    for (const weights of ['float', 'int4'] as const) {
      test(`${name}, ${weights}`, async () => {
        using model = await loadCausalLM(join(golden, 'models', name), {
          device,
          quantization: weights === 'int4' ? quantization : undefined,
          onWarning() {},
        })
        const [before, calls, footprint] = [await logits(model), callsOfStep(model), device.allocatedBytes]
        const { fused, apart } = fuse(model)
        assert.deepEqual([...fused.flat(), ...apart.map(({ path }) => path)].sort(), siblings(model).sort())
        assert.deepEqual(await logits(model), before)
        const saved = fused.reduce((sum, { length }) => sum + length - 1, 0)
        // Biases of fewer bits are cast as one, too.
        assert.ok(callsOfStep(model) <= calls - saved)
        assert.ok(device.allocatedBytes <= footprint + 64 * siblings(model).length, 'weights are held once')
      })
    }
  }
})

for (const [format, load] of [
  ['quanto', () => loadCausalLM(stories, { device, quantization })],
  ['safetensors', () => loadCausalLM(stories, { device })],
  ['awq', () => loadCausalLM(join(golden, 'stories260K/awq-gemm-g32-attn'), { device })],
] as const) {
  test(`${format}: a fused model is saved as it was`, async () => {
    const files = [new Map<string, Uint8Array>(), new Map<string, Uint8Array>()]
    using model = await load()
    await save(model, memoryFolder(files[0]))
    assert.notEqual(fuse(model).fused.length, 0)
    await save(model, memoryFolder(files[1]))
    assert.deepEqual(files[1], files[0])
  })
}

test('GGUF: products of blocks are fused', async () => {
  using model = await loadCausalLM(join(golden, 'gguf/stories260K-q4_0.gguf'), { device })
  const before = await logits(model)
  const [{ fused, apart }, { layers }] = [fuse(model), model.config]
  assert.deepEqual([fused.length, apart.length], [2 * layers, 0])
  assert.deepEqual(await logits(model), before)
})

test('loaded with doFuse and fuseMaxSeqLen, a model makes one cache, and writes what it did', async () => {
  using plain = await loadCausalLM(stories, { device, quantization })
  using model = await loadCausalLM(stories, { device, quantization, doFuse: true, fuseMaxSeqLen: 64 })
  assert.equal(model.fuseMaxSeqLen, 64)
  const write = (model: CausalLM) => generate(model, 'Once upon', { maxNewTokens: 20 })
  const expected = await write(plain)
  assert.equal((await write(model)).text, expected.text)
  const held = device.allocatedBytes
  // The second of two at a time has a cache of its own.
  for (const { text } of await Promise.all([write(model), write(model)])) assert.equal(text, expected.text)
  assert.equal(device.allocatedBytes, held)
})

test('what does not fit fuseMaxSeqLen is refused', async () => {
  using model = await loadCausalLM(stories, { device })
  fuse(model, { fuseMaxSeqLen: 16 })
  await assert.rejects(generate(model, [1, 2, 3], { maxNewTokens: 14 }), {
    message:
      'generate: prompt and new tokens must fit into the 16 tokens of fuseMaxSeqLen; received 3 and 14',
  })
  const { tokenIds } = await generate(model, [1, 2, 3], { stopAtEos: false })
  assert.equal(tokenIds.length, 13)
  assert.throws(() => fuse(model, { fuseMaxSeqLen: 1024 }), {
    message: "fuse: fuseMaxSeqLen must be at most the model's context of 512 tokens; received 1024",
  })
  await assert.rejects(loadCausalLM(stories, { device, fuseMaxSeqLen: 16 }), {
    message: 'loadCausalLM: fuseMaxSeqLen belongs to doFuse: true; received 16 without it',
  })
})
