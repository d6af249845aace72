import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import type { Device } from '../../src/devices/device.ts'
import { openDevice } from '../../src/devices/open.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { generate } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { freeze, type QuantizeOptions, quantize } from '../../src/quantize/quantize.ts'
import { deviceNames } from '../deviceNames.ts'
import { equalRow, numberRow } from '../goldenTable.ts'
import { forward64, type PlainCheckpoint, readPlain } from './float64Llama.ts'
import { copyOf, golden, inputs, manifest, pythonFolder, readExpected, stories } from './golden.ts'
import {
  checkGreedy,
  checkLogits,
  checkParts,
  checkPerplexity,
  checkWeights,
  logitFactor,
  logitsOf,
} from './goldenChecks.ts'

/** How Python made each variant, in our words; null for the float model. */
const variants: Record<string, QuantizeOptions | null> = {
  float: null,
  'quanto-qint8': { weights: 'int8' },
  'quanto-qint4': { weights: 'int4' },
  'quanto-qint2': { weights: 'int2' },
  'quanto-qfloat8': { weights: 'float8' },
  'quanto-qint4-nolmhead': { weights: 'int4', exclude: 'lm_head' },
}

const rows: Record<string, string>[] = []
const plain = new Map<string, PlainCheckpoint>()
for (const variant of Object.keys(variants)) plain.set(variant, await readPlain(pythonFolder(variant)))

for (const name of deviceNames) {
  describe(`stories260K on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
      await device.close()
    })
    for (const [variant, options] of Object.entries(variants)) {
      const expected = manifest.variants[variant]
      const truth = plain.get(variant) as PlainCheckpoint
      const row: Record<string, string> = { variant, device: name, codes: 'float', saved: 'no' }

      if (options)
        test(`${variant}: our codes, scales and shifts are Python's`, async () => {
          using model = await quantized(device, options)
          row.codes = `${await checkParts(model, truth)} equal`
          equalRow(variant, name, 'codes, scales, shifts')
        })

      test(`${variant}: we save what Python saved`, async () => {
        const theirs = await copyOf(pythonFolder(variant))
        using made = options ? await quantized(device, options) : await loadCausalLM(stories, { device })
        const ours = await saved(made)
        sameBytes(ours, theirs, 'model.safetensors', ...(options ? ['quanto_qmap.json'] : []))
        row.saved = 'byte-equal'
        assert.equal(configOf(ours).tie_word_embeddings, configOf(theirs).tie_word_embeddings)
        // A folder that Python wrote comes out as it went in; of config.json the values, since JavaScript
        // writes 10000.0 as 10000.
        using loaded = await loadCausalLM(pythonFolder(variant), { device })
        const again = await saved(loaded)
        if (!options) return
        sameBytes(again, theirs, ...[...theirs.keys()].filter((file) => file !== 'config.json'))
        assert.deepEqual(configOf(again), configOf(theirs))
      })

      test(`${variant}: Python's folder computes what Python computed`, async () => {
        using model = await loadCausalLM(pythonFolder(variant), { device })
        const tensors = await readExpected(join(golden, 'expected', `${variant}.safetensors`))
        await checkWeights(model, expected, tensors)
        const python = tensors.get('prompt_logits') as Float32Array
        const errors = checkLogits(
          await logitsOf(model, inputs.prompt_ids),
          python,
          forward64(truth, inputs.prompt_ids),
        )
        row['logit error'] = errors.ours.toExponential(1)
        row["PyTorch's"] = errors.python.toExponential(1)
        row[`worst ratio (≤ ${logitFactor})`] = errors.worst.toFixed(2)
        const ours = await checkPerplexity(model, expected)
        numberRow(variant, name, 'perplexity', ours, expected.perplexity, '0.001 %')
        row.perplexity = ours.toPrecision(9)
        row["Python's"] = expected.perplexity.toPrecision(9)
        row['greedy tokens'] = `${await checkGreedy(model, expected)} equal`
      })
      rows.push(row)
    }
  })
}

test('the tokenizer gives the ids that Python gave, and back the text', async () => {
  const device = openDevice('wasm', { threads: 1 })
  const model = await loadCausalLM(stories, { device })
  const text = readFileSync(join(stories, '../tinystories.txt'), 'utf8')
  const ids = model.tokenizer?.encode(text, { addSpecialTokens: false }) ?? []
  assert.deepEqual(ids.slice(0, inputs.ppl_ids.length), inputs.ppl_ids)
  assert.deepEqual(model.tokenizer?.encode(inputs.prompt), inputs.prompt_ids)
  const generation = await generate(model, inputs.prompt, {
    maxNewTokens: 40,
    stopAtEos: false,
    computeDtype: 'float32',
  })
  assert.equal(generation.text, manifest.variants.float.greedy_text)
  model.dispose()
  await device.close()
})

after(() => console.table(rows))

async function quantized(device: Device, options: QuantizeOptions): Promise<CausalLM> {
  const model = await loadCausalLM(stories, { device })
  quantize(model, options)
  freeze(model)
  return model
}

async function saved(model: CausalLM): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  await save(model, memoryFolder(files))
  return files
}

function sameBytes(ours: Map<string, Uint8Array>, theirs: Map<string, Uint8Array>, ...names: string[]): void {
  for (const name of names)
    assert.ok(
      Buffer.from(ours.get(name) ?? '').equals(theirs.get(name) ?? Buffer.alloc(0)),
      `${name} differs`,
    )
}

function configOf(files: Map<string, Uint8Array>): Record<string, unknown> {
  return JSON.parse(Buffer.from(files.get('config.json') ?? '').toString())
}
