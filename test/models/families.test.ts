import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { JsonObject } from '../../src/formats/json.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { dequantize, loadCausalLM, save } from '../../src/index.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { emptyModel } from '../../src/models/families/index.ts'
import { generateTokens } from '../../src/models/generate.ts'
import { Conv1D, QConv1D } from '../../src/nn/gptConv1D.ts'
import { freeze, type QuantizeOptions, quantize } from '../../src/quantize/quantize.ts'
import { deviceNames } from '../deviceNames.ts'
import { readExpected } from './golden.ts'
import { checkLogits } from './goldenChecks.ts'

/** What scripts/make-family-fixtures.py wrote. */
const golden = join(import.meta.dirname, '../golden/families')
const readJson = (path: string) => JSON.parse(readFileSync(join(golden, path), 'utf8'))

/** How Python quantized each family's variants. */
const families: Record<string, Omit<QuantizeOptions, 'weights'>> = {
  qwen2: { exclude: 'lm_head' },
  mistral: {},
}
const variants = { qint2: 'int2', qint4: 'int4', qint8: 'int8', qfloat8: 'float8' } as const

/** Compares logits of all tokens, or of the last ones, with what Python expects of `variant`. */
function checkVariant(
  tensors: ReadonlyMap<string, Float32Array>,
  variant: string,
  model: CausalLM,
  logits: ArrayLike<number>,
): void {
  const part = (key: string) => tensors.get(`${variant}.${key}`) ?? assert.fail(`${variant}.${key}`)
  const [python, high, low] = ['python', 'high', 'low'].map(part)
  const V = model.config.vocabularySize
  const truth = Array.from({ length: high.length / V }, (_, row) =>
    Float64Array.from({ length: V }, (_, i) => high[row * V + i] + low[row * V + i]),
  )
  checkLogits(Float32Array.from(logits).slice(-high.length), python, truth)
}

for (const [family, options] of Object.entries(families)) {
  const { ids, greedy }: { ids: number[]; greedy: number[] } = readJson(`${family}.json`)
  const tensors = await readExpected(join(golden, `${family}.safetensors`))

  for (const name of deviceNames) {
    describe(`${family} on ${name}`, () => {
      const device = openDevice(name, { threads: 2 })
      after(async () => {
        assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
        await device.close()
      })
      const load = (place = family) => loadCausalLM(join(golden, place), { device })
      const check = (variant: string, model: CausalLM, logits: ArrayLike<number>) =>
        checkVariant(tensors, variant, model, logits)
      const logitsOf = async (model: CausalLM) => {
        using logits = model.forward(ids)
        return logits.toNumbers()
      }

      test('logits of a text that is longer than the window', async () => {
        using model = await load()
        check('float', model, await logitsOf(model))
      })

      test('logits of chunks and of single tokens, over a cache', async () => {
        for (const sizes of [
          [6, 5, 3],
          [4, ...new Array(10).fill(1)],
        ]) {
          using model = await load()
          using cache = model.createCache(ids.length)
          const found: number[] = []
          for (const size of sizes) {
            using logits = model.forward(ids.slice(cache.length, cache.length + size), { cache })
            found.push(...(await logits.toNumbers()))
          }
          check('float', model, found)
        }
      })

      test('greedy tokens', async () => {
        using model = await load()
        const found: number[] = []
        const choice = { maxNewTokens: greedy.length, stopAtEos: false, computeDtype: 'float32' } as const
        for await (const id of generateTokens(model, ids.slice(0, 6), choice)) found.push(id)
        assert.deepEqual(found, greedy)
      })

      for (const [variant, weights] of Object.entries(variants)) {
        test(`quantized to ${variant}, as quanto does`, async () => {
          using model = await load()
          for (const parameter of model.parameters()) assert.equal(parameter.dtype, 'bfloat16')
          using float = await loadCausalLM(join(golden, family), { device, dtype: 'float32' })
          quantize(float, { ...options, weights })
          freeze(float)
          check(variant, float, await logitsOf(float))
        })
      }

      test("quanto's folder: logits, and saved again", async () => {
        using model = await load(`${family}-qint4`)
        check('qint4', model, await logitsOf(model))
        const files = new Map<string, Uint8Array>()
        await save(model, memoryFolder(files))
        for (const file of ['model.safetensors', 'quanto_qmap.json'])
          assert.ok(
            Buffer.from(files.get(file) ?? '').equals(readFileSync(join(golden, `${family}-qint4`, file))),
            `${file} differs`,
          )
        using made = await loadCausalLM(join(golden, family), { device, dtype: 'float32' })
        quantize(made, { ...options, weights: 'int4' })
        freeze(made)
        assert.deepEqual(await logitsOf(model), await logitsOf(made))
      })

      test('a GGUF file', async () => {
        using model = await load(`${family}.gguf`)
        assert.equal(model.constructor.name, family === 'qwen2' ? 'Qwen2ForCausalLM' : 'MistralForCausalLM')
        check('gguf', model, await logitsOf(model))
      })
    })
  }
}

for (const name of deviceNames) {
  test(`GPT-2 from a GGUF file on ${name}: blocks, and floats that lie the other way round`, async () => {
    const device = openDevice(name, { threads: 2 })
    const { ids }: { ids: number[] } = readJson('gpt2.json')
    {
      using model = await loadCausalLM(join(golden, 'gpt2.gguf'), { device })
      assert.ok(model.getModule('transformer.h.0.attn.c_attn') instanceof Conv1D)
      assert.ok(model.getModule('transformer.h.1.attn.c_attn') instanceof QConv1D)
      using logits = model.forward(ids)
      const tensors = await readExpected(join(golden, 'gpt2.safetensors'))
      checkVariant(tensors, 'gguf', model, await logits.toNumbers())
      // The same floats, multiplied in another order.
      using floats = await loadCausalLM(join(golden, 'gpt2.gguf'), { device, dequantize: true })
      using same = floats.forward(ids)
      checkVariant(tensors, 'gguf', floats, await same.toNumbers())
      // Saved and loaded, its floats lie as transformers has them.
      const files = new Map<string, Uint8Array>()
      dequantize(model)
      await save(model, memoryFolder(files))
      using again = await loadCausalLM(memoryFolder(files), { device })
      using others = again.forward(ids)
      checkVariant(tensors, 'gguf', again, await others.toNumbers())
    }
    assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
    await device.close()
  })
}

describe('config.json', () => {
  const configOf = (family: string, fields: object) =>
    emptyModel(new JsonObject({ ...readJson(`${family}/config.json`), ...fields }, 'config.json')).config

  test('windows of Qwen2', () => {
    const windows = (fields: object) =>
      (configOf('qwen2', { num_hidden_layers: 3, ...fields }) as unknown as { windows: unknown }).windows
    assert.deepEqual(windows({ layer_types: null }), [null, 5, 5])
    assert.deepEqual(windows({ layer_types: null, max_window_layers: 2 }), [null, null, 5])
    // As transformers 5.23 has it: null is no window, an absent field is one of 4096 tokens.
    const all = { layer_types: null, max_window_layers: 0 }
    assert.deepEqual(windows({ ...all, sliding_window: null }), [null, null, null])
    const { sliding_window: _, ...absent } = readJson('qwen2/config.json')
    const { config } = emptyModel(new JsonObject({ ...absent, ...all, num_hidden_layers: 1 }, 'config.json'))
    assert.deepEqual((config as unknown as { windows: unknown }).windows, [4096])
    assert.deepEqual(windows({ layer_types: null, use_sliding_window: false }), [null, null, null])
    const [full, sliding] = ['full_attention', 'sliding_attention']
    assert.deepEqual(windows({ layer_types: [sliding, full, sliding] }), [5, null, 5])
  })

  test('windows of Mistral', () => {
    const windows = (fields: object) =>
      (configOf('mistral', fields) as unknown as { windows: unknown }).windows
    assert.deepEqual(windows({}), [5, 5])
    assert.deepEqual(windows({ sliding_window: null }), [null, null])
    const { sliding_window: _, ...absent } = readJson('mistral/config.json')
    const model = emptyModel(new JsonObject(absent, 'config.json'))
    assert.deepEqual((model.config as unknown as { windows: unknown }).windows, [4096, 4096])
  })

  for (const [family, fields, message] of [
    ['qwen2', { layer_types: ['full_attention'] }, /layer_types must have .* for layer 1/],
    [
      'qwen2',
      { layer_types: ['full_attention', 'chunked_attention'] },
      /layer_types must have .* for layer 1/,
    ],
    ['qwen2', { use_sliding_window: false }, /layer_types must have "full_attention".* for layer 1/],
    ['qwen2', { sliding_window: 0 }, /sliding_window must be a positive integer; received 0/],
    ['qwen2', { hidden_act: 'gelu' }, /hidden_act must be "silu"; received "gelu"/],
    ['mistral', { layer_types: ['sliding_attention'] }, /layer_types must be absent/],
    ['mistral', { rope_parameters: { partial_rotary_factor: 0.5 } }, /partial_rotary_factor must be 1/],
    ['mistral', { num_key_value_heads: 3 }, /num_key_value_heads must divide num_attention_heads \(4\)/],
  ] as const) {
    test(`${family} refuses ${JSON.stringify(fields)}`, () => {
      assert.throws(() => configOf(family, fields), { name: 'FormatError', message })
    })
  }
})
