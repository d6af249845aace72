import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { save } from '../../src/checkpoints/save.ts'
import type { FloatDType } from '../../src/core/dtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { generate } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { pythonFolder } from './golden.ts'

/*
 * Numbers that become infinite or NaN on the way: whoever meets them first says which tensor or token, and
 * nothing is written.
 */

const stories = fileURLToPath(new URL('../../models/stories260K', import.meta.url))
const device = openDevice('cpu', { threads: 2 })
const temporary = mkdtempSync(join(tmpdir(), 'lowbit-overflow-'))
after(async () => {
  await device.close()
  rmSync(temporary, { recursive: true })
})

/** Some weight in the middle. */
const path = 'model.layers.2.mlp.down_proj.weight'

/** The embedded model in `dtype`, whose weight at `path` begins with `value`. */
async function modelWith(value: number, dtype: FloatDType = 'float32'): Promise<CausalLM> {
  const model = await loadCausalLM(stories, { device, dtype })
  const { shape } = model.getParameter(path)
  model.getParameter(path).dispose()
  const values = Array.from({ length: shape[0] * shape[1] }, (_, i) => (i === 0 ? value : 0.01))
  model.setParameter(path, Tensor.fromNumbers(device, values, shape, dtype))
  return model
}

/** A folder in memory with such a model. */
async function folderWith(value: number, dtype: FloatDType): Promise<ReturnType<typeof memoryFolder>> {
  const folder = memoryFolder()
  using model = await modelWith(value, dtype)
  await save(model, folder)
  return folder
}

// Numbers by hand: float16 ends at 65504 with steps of 32 there, bfloat16 at (2 − 2⁻⁷)·2¹²⁷ with steps of
// 2¹²⁰; half a step above rounds up.
const largestBfloat16 = (2 - 2 ** -7) * 2 ** 127
const casts: [from: FloatDType, to: FloatDType, fits: number, becomes: number, overflows: number][] = [
  ['float32', 'float16', 65519.99, 65504, 65520],
  ['bfloat16', 'float16', 65280, 65280, 65536],
  ['float32', 'bfloat16', largestBfloat16 + 0.9 * 2 ** 119, largestBfloat16, largestBfloat16 + 2 ** 119],
]
for (const [from, to, fits, becomes, overflows] of casts) {
  test(`a checkpoint in ${from}, loaded as ${to}: what does not fit is named`, async () => {
    using model = await loadCausalLM(await folderWith(-fits, from), { device, dtype: to })
    const parameter = model.getParameter(path)
    assert.ok(parameter instanceof Tensor)
    assert.equal((await parameter.toNumbers())[0], -becomes)
    const before = device.allocatedBytes
    const folder = await folderWith(-overflows, from)
    await assert.rejects(loadCausalLM(folder, { device, dtype: to }), {
      name: 'FormatError',
      message: `memory/model.safetensors: ${path} must hold numbers that ${to} can hold; value 0 is ${-overflows}`,
      tensor: path,
    })
    assert.equal(device.allocatedBytes, before)
    using whole = await loadCausalLM(folder, { device })
    assert.equal(whole.getParameter(path).dtype, from)
  })
}

test('codes times scales that leave float16 are named', async () => {
  const folder = memoryFolder()
  {
    // A scale of 1000 times a code of 127.
    using model = await modelWith(127_000)
    quantize(model, { weights: 'int8', include: '*.down_proj' })
    freeze(model)
    await save(model, folder)
  }
  using float = await loadCausalLM(folder, { device, dequantize: true })
  assert.ok(float.getParameter(path) instanceof Tensor)
  await assert.rejects(loadCausalLM(folder, { device, dequantize: true, dtype: 'float16' }), {
    name: 'FormatError',
    message: `memory: ${path} must hold finite numbers; value 0 is NaN or infinite`,
  })
})

class Net extends Module {
  first = new Linear(32, 4, { dtype: 'float16' })
}

test('a scale that overflows is named, and nothing is written', async () => {
  const net = initialize(new Net(), device)
  // 60000 − (−60000) is beyond float16, in which the scale of 4 bits is computed.
  net.first.weight = Tensor.fromNumbers(
    device,
    Array.from({ length: 128 }, (_, i) => [60000, -60000][i % 2]),
    [4, 32],
    'float16',
  )
  quantize(net, { weights: 'int4' })
  freeze(net)
  await assert.rejects(save(net, join(temporary, 'net')), {
    name: 'FormatError',
    message: /^save: first\.weight\._(scale|shift) must hold finite numbers; value 0 is NaN or infinite$/,
  })
  assert.deepEqual(readdirSync(temporary), [])
})

test('a weight that is NaN is not saved', async () => {
  const net = initialize(new Net(), device)
  net.first.weight = Tensor.fromNumbers(device, new Array(128).fill(NaN), [4, 32], 'float16')
  await assert.rejects(save(net, memoryFolder()), {
    message: 'save: first.weight must hold finite numbers; value 0 is NaN or infinite',
  })
})

test('logits that are NaN: generate and evaluate say where', async () => {
  using model = await modelWith(NaN)
  const rule =
    'generate: logits must be finite; those of new token 1 are NaN: a weight or an activation overflows its dtype'
  for (const temperature of [0, 1])
    await assert.rejects(generate(model, [1, 2, 3], { temperature }), { name: 'DTypeError', message: rule })
  const ids = Array.from({ length: 40 }, (_, i) => i)
  using sound = await loadCausalLM(stories, { device })
  const evaluates = (of: CausalLM, baseline: CausalLM | undefined, whose: string) =>
    assert.rejects(perplexity(of, ids, { context: 16, baseline }), {
      name: 'DTypeError',
      message: `perplexity: logits must be numbers; ${whose} for token 1 of window 1 are NaN: a weight or an activation overflows its dtype`,
    })
  await evaluates(model, undefined, 'those')
  await evaluates(model, sound, 'those')
  await evaluates(sound, model, "the baseline's")
})

test('logits that become NaN on the way: the token is counted', async () => {
  using model = await loadCausalLM(pythonFolder('quanto-qint8'), { device })
  const prompt = [1, 403, 407]
  const { tokenIds } = await generate(model, prompt, { maxNewTokens: 8 })
  // The embedding, which is not the head's, of the third new token: those after it see it.
  const { weight } = model.tokenEmbedding
  assert.ok(weight instanceof Tensor && ![...prompt, ...tokenIds.slice(0, 2)].includes(tokenIds[2]))
  const row = weight.rows(tokenIds[2], tokenIds[2] + 1)
  row.write(new Uint8Array(row.byteLength).fill(0xff))
  row.dispose()
  await assert.rejects(generate(model, prompt, { maxNewTokens: 8 }), /those of new token 4 are NaN/)
})
