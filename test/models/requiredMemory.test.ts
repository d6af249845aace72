import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openDevice } from '../../src/devices/open.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { requiredMemory } from '../../src/models/requiredMemory.ts'
import { memoryFootprint } from '../../src/quantize/quantize.ts'
import { deviceNames } from '../deviceNames.ts'

const stories = fileURLToPath(new URL('../../models/stories260K', import.meta.url))

/** Llama 3.2 1B, of which the numbers are published. */
const llama = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  ...{ hidden_size: 2048, intermediate_size: 8192, num_hidden_layers: 16, num_attention_heads: 32 },
  ...{ num_key_value_heads: 8, head_dim: 64, vocab_size: 128256, max_position_embeddings: 131072 },
  ...{ tie_word_embeddings: true, torch_dtype: 'bfloat16', rms_norm_eps: 1e-5 },
}

test('what Llama 3.2 1B needs, by hand', () => {
  const whole = requiredMemory(llama)
  assert.equal(whole.parameters, 1_235_814_400)
  assert.equal(whole.weights, 2 * 1_235_814_400)
  // Two bytes of 64 values of eight heads, of keys and of values, in 16 layers.
  assert.equal(whole.cache, 131072 * 2 * 16 * 8 * 64 * 2)
  assert.deepEqual([whole.context, whole.kv], [131072, 'float16'])
  const small = requiredMemory(llama, { weights: 'int4', kv: 'int8', context: 8192, batch: 2 })
  assert.equal(small.parameters, whole.parameters)
  assert.equal(small.cache, 2 * 2 * 16 * 8 * (8192 * (64 + 2) + 128 * 64 * 2))
  assert.ok(small.weights < 0.5 * whole.weights)
  assert.throws(() => requiredMemory({ architectures: ['NoneSuch'] }), { name: 'FormatError' })
})

test('what a model takes that is loaded so', async () => {
  const device = openDevice(deviceNames[0], { threads: 1 })
  const config = JSON.parse(await readFile(`${stories}/config.json`, 'utf8'))
  for (const weights of ['int8', 'int4'] as const) {
    const model = await loadCausalLM(stories, { device, quantization: { method: 'quanto', weights } })
    using cache = model.createCache(200, { kv: 'int4' })
    const needed = requiredMemory(config, { weights, dtype: 'float32', kv: 'int4', context: 200 })
    assert.deepEqual([needed.weights, needed.cache], [memoryFootprint(model), cache.bytes])
    model.dispose()
  }
  await device.close()
})
