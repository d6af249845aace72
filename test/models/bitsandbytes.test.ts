import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { loadStateDict, stateDict } from '../../src/checkpoints/stateDict.ts'
import { FormatError } from '../../src/core/errors.ts'
import { type DeviceName, openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { type Folder, memoryFolder } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { type LoadOptions, loadCausalLM } from '../../src/models/load.ts'
import { setComputeDtype } from '../../src/nn/qmodule.ts'
import { dequantize } from '../../src/quantize/dequantize.ts'
import { golden, goldenItem } from '../golden.ts'
import { equalRow, numberRow } from '../goldenTable.ts'
import { copyOf, readExpected, stories } from './golden.ts'
import { dequantized, logitsOf } from './goldenChecks.ts'
import { checkItem, type GoldenScheme, goldenModels } from './schemeChecks.ts'

/* bitsandbytes' NF4, FP4 and int8 of two models, as transformers saved them and computed with them. */

for (const name of (process.env.LOWBIT_DEVICES ?? 'native,wasm').split(',') as DeviceName[]) {
  describe(`bitsandbytes on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
      await device.close()
    })
    test('a state dictionary in, of a model that was quantized to the same type', async () => {
      const options = (bnb4bitQuantType: 'nf4' | 'fp4') => ({
        device,
        quantization: { method: 'bitsandbytes', loadIn4bit: true, bnb4bitQuantType } as const,
      })
      const place = diskFolder(stories)
      using model = await loadCausalLM(place, options('nf4'))
      using other = await loadCausalLM(place, options('nf4'))
      using third = await loadCausalLM(place, options('fp4'))
      const path = 'model.layers.3.mlp.up_proj.weight'
      const state = await stateDict(model)
      const codes = state.get(path)
      assert.ok(codes && codes.dtype === 'uint8')
      state.set(path, { ...codes, bytes: new Uint8Array(codes.bytes.length) })
      assert.deepEqual(await loadStateDict(other, state), { missingKeys: [], unexpectedKeys: [] })
      const values = await dequantized(other, path)
      // Code 0 stands for −1.
      const absmax = new Float32Array(state.get(`${path}.absmax`)?.bytes.buffer as ArrayBuffer)
      assert.deepEqual(
        [...values],
        [...values.keys()].map((i) => -absmax[Math.floor(i / 64)]),
      )
      const before = await dequantized(third, path)
      await assert.rejects(loadStateDict(third, state), FormatError)
      assert.deepEqual(await dequantized(third, path), before)
    })

    for (const [model, { float }] of Object.entries(goldenModels)) {
      for (const variant of ['bnb-nf4', 'bnb-nf4-dq', 'bnb-fp4', 'bnb-int8']) {
        const id = `${model}/${variant}`
        const { expected } = goldenItem<GoldenScheme>(id)
        const place = join(golden, id)

        const check = (loaded: CausalLM, floats: CausalLM) => {
          // The figures are those of products of floats.
          setComputeDtype(loaded, 'float32')
          return checkItem(id, loaded, floats)
        }

        test(`${id}: what we quantize is what Python quantized`, async () => {
          const options: LoadOptions = {
            device,
            dtype: 'float32',
            quantization: variant.endsWith('int8')
              ? { method: 'bitsandbytes', load_in_8bit: true }
              : {
                  method: 'bitsandbytes',
                  load_in_4bit: true,
                  bnb_4bit_quant_type: variant.includes('nf4') ? 'nf4' : 'fp4',
                  bnb_4bit_use_double_quant: variant.endsWith('dq'),
                },
          }
          using made = await loadCausalLM(diskFolder(float), options)
          using floats = await loadCausalLM(diskFolder(float), options)
          dequantize(floats)
          const ours = await check(made, floats)
          equalRow(id, name, 'weights quantized and dequantized')
          numberRow(id, name, 'perplexity, quantized by lowbit', ours, expected.perplexity, '0.05 %')
          if (!existsSync(place)) return
          await checkSaved(made, diskFolder(place))
          equalRow(id, name, 'saved tensors, quantized by lowbit')
        })

        if (existsSync(place) && variant === 'bnb-int8')
          test(`${id}: LLM.int8 costs what it costs in Python`, async () => {
            using model = await loadCausalLM(diskFolder(place), { device })
            const [name] = id.split('/')
            const inputs = JSON.parse(readFileSync(join(golden, name, 'inputs.json'), 'utf8'))
            const tensors = await readExpected(join(golden, name, `expected/${variant}.safetensors`))
            const [theirs, plain] = ['lib_prompt_logits', 'prompt_logits'].map((each) => tensors.get(each))
            const ours = await logitsOf(model, inputs.prompt_ids)
            // A code that falls to the other side of a half moves all that follows: Python's distance from
            // plain floats.
            const distance = (from: ArrayLike<number> | undefined) =>
              ours.reduce((most, value, i) => Math.max(most, Math.abs(value - (from?.[i] ?? NaN))), 0)
            assert.ok(distance(theirs) < distance(plain))
          })

        if (existsSync(place))
          test(`${id}: Python's folder computes what Python computed`, async () => {
            using loaded = await loadCausalLM(diskFolder(place), { device })
            using floats = await loadCausalLM(diskFolder(place), { device, dequantize: true })
            const ours = await check(loaded, floats)
            equalRow(id, name, 'dequantized weights')
            numberRow(id, name, 'perplexity', ours, expected.perplexity, '0.05 %')
            await checkSaved(loaded, diskFolder(place))
            equalRow(id, name, 'saved tensors')
          })
      }
    }
  })
}

/** A model is saved as Python saved it: the tensors byte by byte, and what config.json says of them. */
async function checkSaved(model: CausalLM, theirs: Folder): Promise<void> {
  const files = new Map<string, Uint8Array>()
  await save(model, memoryFolder(files), { onWarning: (message) => assert.fail(message) })
  const expected = await copyOf(theirs)
  const [ours, python] = [files, expected].map((folder) => Buffer.from(folder.get('model.safetensors') ?? ''))
  assert.ok(ours.equals(python), 'model.safetensors differs')
  const [config, written] = [files, expected].map(
    (folder) => JSON.parse(Buffer.from(folder.get('config.json') ?? '').toString()).quantization_config,
  )
  assert.deepEqual(config, written)
  // Python takes no whole number there.
  assert.match(Buffer.from(files.get('config.json') ?? '').toString(), /"llm_int8_threshold": 6\.0,/)
}
