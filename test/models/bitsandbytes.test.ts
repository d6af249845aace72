import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { loadStateDict, stateDict } from '../../src/checkpoints/stateDict.ts'
import { FormatError } from '../../src/core/errors.ts'
import { type DeviceName, openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { readJson } from '../../src/formats/json.ts'
import { type Folder, memoryFolder } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { GPT2LMHeadModel } from '../../src/models/families/gpt2.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { QWeightModule } from '../../src/nn/qmodule.ts'
import { dequantize } from '../../src/quantize/dequantize.ts'
import { golden, goldenItem } from '../golden.ts'
import { equalRow, numberRow } from '../goldenTable.ts'
import { forwardGpt2 } from './float64Gpt2.ts'
import { forward64 } from './float64Llama.ts'
import { copyOf, type Expected, manifest, readExpected, stories } from './golden.ts'
import { checkLogits, checkWeights, dequantized, logitsOf } from './goldenChecks.ts'

/* bitsandbytes' NF4 and FP4 of two models, as transformers saved them and computed with them. */

interface Item {
  id: string
  expected: Expected
  weight_stats: Expected['weight_stats']
}

/** The float models, and the windows in which their perplexity was measured. */
const models = {
  stories260K: { float: stories, context: manifest.context },
  'shakespeare-gpt2-1M': { float: join(golden, 'shakespeare-gpt2-1M/float'), context: 256 },
}

interface Inputs {
  prompt_ids: number[]
  ppl_ids: number[]
}

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

    for (const [model, { float, context }] of Object.entries(models)) {
      const inputs: Inputs = JSON.parse(readFileSync(join(golden, model, 'inputs.json'), 'utf8'))
      for (const variant of ['bnb-nf4', 'bnb-nf4-dq', 'bnb-fp4']) {
        const id = `${model}/${variant}`
        const item = goldenItem<Item>(id)
        const expected = { ...item.expected, weight_stats: item.weight_stats }
        const place = join(golden, id)

        /** Weights, logits and perplexity of Python, of whichever way the model came to be. */
        const check = async (loaded: CausalLM, floats: CausalLM) => {
          const tensors = await readExpected(join(golden, model, 'expected', `${variant}.safetensors`))
          await checkDequantized(loaded, expected, tensors)
          const truth = await forwardExactly(floats, inputs.prompt_ids)
          const python = tensors.get('prompt_logits') as Float32Array
          checkLogits(await logitsOf(loaded, inputs.prompt_ids), python, truth)
          const { perplexity: ours } = await perplexity(loaded, inputs.ppl_ids, { context })
          assert.ok(Math.abs(ours / expected.perplexity - 1) < 5e-4, `${ours}, not ${expected.perplexity}`)
          return ours
        }

        test(`${id}: what we quantize is what Python quantized`, async () => {
          const options = {
            device,
            quantization: {
              method: 'bitsandbytes',
              load_in_4bit: true,
              bnb_4bit_quant_type: variant.includes('nf4') ? 'nf4' : 'fp4',
              bnb_4bit_use_double_quant: variant.endsWith('dq'),
            },
          } as const
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

/**
 * Every dequantized weight is Python's. Zeros have any sign: of FP4's two, the one with the sign bit is −0
 * where the library computes value by value, and 0 where it computes in vectors and in the table that it saves.
 */
async function checkDequantized(
  model: CausalLM,
  expected: Expected,
  tensors: ReadonlyMap<string, Float32Array>,
): Promise<void> {
  await checkWeights(model, expected, new Map())
  for (const [name, rows] of tensors) {
    if (!name.startsWith('dequant.')) continue
    const values = await dequantized(model, name.slice('dequant.'.length))
    assert.ok(rows.length > 0)
    assert.equal(
      rows.findIndex((value, i) => value !== values[i]),
      -1,
      name,
    )
  }
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
  // Python reads no whole number there, and JavaScript writes 6.0 as 6; it is the default.
  const { llm_int8_threshold: threshold, ...others } = written
  assert.equal(threshold, 6)
  assert.deepEqual(config, others)
}

/** Logits in float64, of the weights that codes stand for. */
async function forwardExactly(floats: CausalLM, ids: readonly number[]): Promise<Float64Array[]> {
  assert.ok(![...floats.namedModules()].some(([, module]) => module instanceof QWeightModule))
  const weights = await weightsOf(floats)
  if (floats instanceof GPT2LMHeadModel)
    return forwardGpt2({ heads: 4, layers: 4, epsilon: 1e-5, weights }, ids)
  const config = await readJson(diskFolder(stories), 'config.json')
  return forward64({ config, weights, quantized: new Map() }, ids)
}

async function weightsOf(model: CausalLM): Promise<Map<string, Float32Array>> {
  const weights = new Map<string, Float32Array>()
  for (const [path] of model.namedParameters()) weights.set(path, await dequantized(model, path))
  return weights
}
