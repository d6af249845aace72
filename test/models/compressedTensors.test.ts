import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden, goldenItem } from '../golden.ts'
import { equalRow, numberRow } from '../goldenTable.ts'
import { copyOf, inputs, manifest, readExpected } from './golden.ts'
import { dequantized, logitsOf } from './goldenChecks.ts'
import { checkItem, type GoldenScheme } from './schemeChecks.ts'

/*
 * compressed-tensors and fine-grained float8, as llm-compressor 0.14 saved stories260K, compressed-tensors
 * 0.20 and transformers 5.23 read it again, and PyTorch computed with it.
 */

const weightsOnly = [
  'ct-w4a16',
  'ct-w4a16-asym',
  'ct-w8a8',
  'ct-fp8',
  'ct-fp8-dynamic',
  'ct-nvfp4',
  'ct-nvfp4a16',
  'ct-mxfp4a16',
  'fp8-finegrained-b32',
]

/** Those whose inputs lowbit rounds as the library does, and how near its perplexity comes. */
const activations: Record<string, { tolerance: number; shown: string }> = {
  'ct-w8a8': { tolerance: 2e-3, shown: '0.2 %' },
  'ct-fp8-dynamic': { tolerance: 2e-3, shown: '0.2 %' },
  'ct-fp8': { tolerance: 5e-4, shown: '0.05 %' },
}

interface Item extends GoldenScheme {
  /** Of the library's own forward pass, inputs rounded. */
  expected_lib: { perplexity: number }
}

/** A variant's folder, its settings without what they say of inputs. */
async function withoutInputs(variant: string) {
  const files = await copyOf(diskFolder(join(golden, 'stories260K', variant)))
  const config = JSON.parse(Buffer.from(files.get('config.json') ?? '').toString())
  for (const group of Object.values<{ input_activations?: unknown }>(
    config.quantization_config.config_groups ?? {},
  ))
    group.input_activations = null
  return memoryFolder(files.set('config.json', Buffer.from(JSON.stringify(config))), variant)
}

for (const name of deviceNames) {
  describe(`compressed-tensors on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
      await device.close()
    })
    const quiet = { device, onWarning: () => {} }
    for (const variant of weightsOnly) {
      const id = `stories260K/${variant}`
      test(`${id}: Python's folder computes what Python computed`, async () => {
        const place = await withoutInputs(variant)
        using loaded = await loadCausalLM(place, quiet)
        using floats = await loadCausalLM(place, { ...quiet, dequantize: true })
        const ours = await checkItem(id, loaded, floats)
        equalRow(id, name, 'dequantized weights')
        numberRow(id, name, 'perplexity', ours, goldenItem<Item>(id).expected.perplexity, '0.05 %')
      })
    }

    for (const [variant, { tolerance, shown }] of Object.entries(activations)) {
      const id = `stories260K/${variant}`
      test(`${id}: inputs are rounded as the library does`, async () => {
        using loaded = await loadCausalLM(diskFolder(join(golden, id)), {
          device,
          onWarning: (message) => assert.fail(message),
        })
        const { perplexity: theirs } = goldenItem<Item>(id).expected_lib
        const { perplexity: ours } = await perplexity(loaded, inputs.ppl_ids, { context: manifest.context })
        assert.ok(Math.abs(ours / theirs - 1) <= tolerance, `perplexity ${ours}, the library's is ${theirs}`)
        numberRow(id, name, 'perplexity, inputs rounded', ours, theirs, shown)
      })
    }

    for (const variant of ['fp8-block', 'w8a16']) {
      test(`a small model of the preset ${variant}: weights and logits are Python's`, async () => {
        const folder = join(golden, 'compressed', variant)
        const { ids, sums } = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8'))
        const expected = await readExpected(join(folder, 'logits.safetensors'))
        using loaded = await loadCausalLM(diskFolder(folder), quiet)
        for (const [path, [sum, magnitude]] of Object.entries<[number, number]>(sums)) {
          const values = await dequantized(loaded, path)
          const near = (ours: number, theirs: number) => Math.abs(ours - theirs) <= 1e-12 * magnitude
          assert.ok(
            near(
              values.reduce((total, value) => total + value, 0),
              sum,
            ),
            path,
          )
          assert.ok(
            near(
              values.reduce((total, value) => total + Math.abs(value), 0),
              magnitude,
            ),
            path,
          )
        }
        const theirs = expected.get('logits') ?? new Float32Array()
        const ours = await logitsOf(loaded, ids)
        const largest = theirs.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0)
        const farthest = theirs.reduce((most, logit, i) => Math.max(most, Math.abs(ours[i] - logit)), 0)
        assert.equal(ours.length, theirs.length)
        assert.ok(farthest < 1e-5 * largest, `logits differ by ${farthest} of ${largest}`)
        equalRow(`compressed/${variant}`, name, 'dequantized weights')
      })
    }

    test('stored scales of inputs give the logits of the library', async () => {
      const expected = await readExpected(join(golden, 'stories260K/expected/ct-fp8.safetensors'))
      using loaded = await loadCausalLM(diskFolder(join(golden, 'stories260K/ct-fp8')), { device })
      const ours = await logitsOf(loaded, inputs.prompt_ids)
      const logits = (key: string) => expected.get(key) ?? new Float32Array()
      const [theirs, plain] = [logits('lib_prompt_logits'), logits('prompt_logits')]
      const farthest = (a: Float32Array) =>
        theirs.reduce((most, logit, i) => Math.max(most, Math.abs(a[i] - logit)), 0)
      assert.equal(ours.length, theirs.length)
      // Rounding moves logits by 1; what float32 loses is five orders below.
      assert.ok(farthest(plain) > 1)
      assert.ok(farthest(ours) < 1e-4, `logits differ by ${farthest(ours)}`)
    })

    test('kernels multiply 4-bit floats that are not rounded to bfloat16, as the library quantizes them', async () => {
      const expected = await readExpected(join(golden, 'stories260K/expected/ct-nvfp4a16.safetensors'))
      using loaded = await loadCausalLM(diskFolder(join(golden, 'stories260K/ct-nvfp4a16')), { device })
      const ours = await logitsOf(loaded, inputs.prompt_ids)
      const theirs = expected.get('lib_prompt_logits') ?? assert.fail('no logits')
      const farthest = theirs.reduce((most, logit, i) => Math.max(most, Math.abs(ours[i] - logit)), 0)
      assert.ok(farthest < 1e-4, `logits differ by ${farthest}`)
    })

    test('inputs that are not rounded as the library does are told of', async () => {
      const warnings: string[] = []
      const onWarning = (message: string) => void warnings.push(message)
      for (const variant of ['ct-nvfp4', 'fp8-finegrained-b32']) {
        using _ = await loadCausalLM(diskFolder(join(golden, 'stories260K', variant)), { device, onWarning })
      }
      assert.equal(warnings.length, 2)
      assert.match(
        warnings[0],
        /config\.json: quantization_config\.config_groups\.group_0\.input_activations is passed over: inputs of 4-bit floats, dynamic, a scale for each group of 16, stay floats, and only weights are quantized$/,
      )
      assert.match(
        warnings[1],
        /config\.json: quantization_config\.activation_scheme "dynamic" is passed over: inputs stay floats, and only weights are quantized$/,
      )
    })
  })
}
