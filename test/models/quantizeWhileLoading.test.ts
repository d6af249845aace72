import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { type FolderSink, memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { Embedding } from '../../src/nn/embedding.ts'
import { Linear } from '../../src/nn/linear.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { dequantize } from '../../src/quantize/dequantize.ts'
import { freeze, memoryFootprint, quantize } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { golden } from '../golden.ts'

const stories = fileURLToPath(new URL('../../models/stories260K', import.meta.url))

/** What `save` writes, by file. */
async function saved(model: Parameters<typeof save>[0]): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  await save(model, memoryFolder(files) as FolderSink)
  return files
}

for (const [label, options] of Object.entries({
  'int4, head left float': { weights: 'int4', exclude: 'lm_head' },
  'int8, tied head quantized': { weights: 'int8' },
  'float8, feed-forward only': { weights: 'float8', include: '*.mlp.*' },
} as const)) {
  test(`quantizing while loading gives what load, quantize, freeze give: ${label}`, async () => {
    const device = openDevice('cpu', { threads: 2 })
    const stepwise = await loadCausalLM(stories, { device })
    quantize(stepwise, options)
    freeze(stepwise)
    const held = device.allocatedBytes
    const atOnce = await loadCausalLM(stories, { device, quantization: { method: 'quanto', ...options } })
    assert.equal(device.allocatedBytes, 2 * held, 'no float weight stays behind')
    assert.equal(memoryFootprint(atOnce), memoryFootprint(stepwise))
    assert.deepEqual(await saved(atOnce), await saved(stepwise))
    await device.close()
  })
}

/** Folders that are quantized by the method that quantizes them anew, and by another one. */
const folders = { quanto: 'quanto-qint4', gptq: 'gptq-w4-g32-sym' }
for (const [scheme, name] of Object.entries(folders)) {
  const folder = join(golden, 'stories260K', name)
  test(`what is quantized already is dequantized first: ${scheme}`, async () => {
    const device = openDevice('cpu', { threads: 2 })
    const stepwise = await loadCausalLM(folder, { device, dequantize: true })
    quantize(stepwise, { weights: 'int8' })
    freeze(stepwise)
    const held = device.allocatedBytes
    const atOnce = await loadCausalLM(folder, { device, quantization: { method: 'quanto', weights: 'int8' } })
    assert.equal(device.allocatedBytes, 2 * held, 'no float weight stays behind')
    assert.deepEqual(await saved(atOnce), await saved(stepwise))
    await device.close()
  })
}

test('an embedding and a head that share a float weight share its codes: in memory, in a folder, and when they are quantized while loading', async () => {
  const device = openDevice('cpu', { threads: 2 })
  const options = { weights: 'int8', layers: [Linear, Embedding] } as const
  const model = await loadCausalLM(stories, { device })
  quantize(model, options)
  freeze(model)
  const files = new Map<string, Uint8Array>()
  await save(model, memoryFolder(files), { onWarning: () => {} })
  const loaded = await loadCausalLM(memoryFolder(files), { device })
  const atOnce = await loadCausalLM(stories, { device, quantization: { method: 'quanto', ...options } })
  for (const each of [model, loaded, atOnce]) {
    assert.ok(each.lm_head.weight instanceof QTensor && each.lm_head.weight === each.tokenEmbedding.weight)
    assert.equal(memoryFootprint(each), memoryFootprint(model))
  }
  dequantize(model)
  assert.ok(model.lm_head.weight instanceof Tensor && model.lm_head.weight === model.tokenEmbedding.weight)
  for (const each of [model, loaded, atOnce]) each.dispose()
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})
