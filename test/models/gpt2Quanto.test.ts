import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { Device } from '../../src/devices/device.ts'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { generateTokens } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { QModule } from '../../src/nn/qmodule.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { goldenItem, golden as root } from '../golden.ts'
import { forwardGpt2 } from './float64Gpt2.ts'
import { type Expected, readExpected } from './golden.ts'
import { checkLogits, checkWeights, dequantized, logitsOf } from './goldenChecks.ts'

/*
 * A small GPT-2 as quanto quantizes it: the head, whose weight was the embedding's, and with activations the
 * outputs of LayerNorms.
 */

const golden = join(root, 'shakespeare-gpt2-1M')
const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'))

interface Scales {
  input_scale: number
  output_scale: number
  output_quantized: boolean
}

interface Item {
  id: string
  expected: Expected
  quantized_modules: string[]
  weight_stats: Expected['weight_stats']
  activation_scales: Record<string, Scales>
  expected_reloaded: Expected
}

const itemOf = (variant: string) => goldenItem<Item>(`shakespeare-gpt2-1M/${variant}`)

const context = 256

for (const name of deviceNames) {
  describe(`GPT-2 as quanto quantizes it on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
      await device.close()
    })
    const inputs: { prompt_ids: number[]; ppl_ids: number[]; calib_batches: number[][][] } = readJson(
      join(golden, 'inputs.json'),
    )
    const load = () => loadCausalLM(diskFolder(join(golden, 'float')), { device })

    async function checkPerplexity(
      model: CausalLM,
      { perplexity: theirs, window_nll }: Expected,
      tolerance: number,
    ): Promise<void> {
      const { perplexity: ours } = await perplexity(model, inputs.ppl_ids, { context })
      assert.ok(Math.abs(ours / theirs - 1) < tolerance, `perplexity ${ours}, not ${theirs}`)
      const first = await perplexity(model, inputs.ppl_ids.slice(0, context), { context })
      assert.ok(
        Math.abs(first.nll / window_nll[0] - 1) < tolerance,
        `nll of the first window ${first.nll}, not ${window_nll[0]}`,
      )
    }

    /** Token for token, up to the first near tie. */
    async function checkGreedy(
      model: CausalLM,
      { greedy_ids, greedy_margins }: Expected,
      nearTie: number,
    ): Promise<number> {
      const tie = greedy_margins.findIndex((margin) => margin < nearTie)
      const count = tie < 0 ? greedy_ids.length : tie
      const ids: number[] = []
      for await (const id of generateTokens(model, inputs.prompt_ids, {
        maxNewTokens: count,
        stopAtEos: false,
        computeDtype: 'float32',
      }))
        ids.push(id)
      assert.deepEqual(ids, greedy_ids.slice(0, count))
      return count
    }

    for (const weights of ['int8', 'int4'] as const) {
      test(`${weights}: weight, logits, perplexity and greedy tokens`, async () => {
        using model = await load()
        const item = itemOf(`quanto-q${weights}`)
        assert.deepEqual(quantize(model, { weights, layers: 'quanto' }), item.quantized_modules)
        freeze(model)
        await checkWeights(model, { ...item.expected, weight_stats: item.weight_stats }, new Map())
        const float = await readExpected(join(golden, 'float/model.safetensors'))
        const head = await dequantized(model, 'lm_head.weight')
        const truth = forwardGpt2(
          { heads: 4, layers: 4, epsilon: 1e-5, weights: float, head },
          inputs.prompt_ids,
        )
        const python = (await readExpected(join(golden, `expected/quanto-q${weights}.safetensors`))).get(
          'prompt_logits',
        )
        assert.ok(python)
        checkLogits(await logitsOf(model, inputs.prompt_ids), python, truth)
        await checkPerplexity(model, item.expected, 1e-5)
        assert.equal(await checkGreedy(model, item.expected, 1e-3), item.expected.greedy_ids.length)
      })
    }

    test('int8 with int8 activations: scales, weight, logits, perplexity and greedy tokens', async () => {
      using model = await load()
      const item = itemOf('quanto-qint8-a8')
      assert.deepEqual(
        quantize(model, { weights: 'int8', activations: 'int8', layers: 'quanto' }).sort(),
        item.quantized_modules,
      )
      const report = await calibrate(model, () => runBatches(device, model, inputs.calib_batches), {
        mirror: 'quanto',
      })
      assert.equal(report.length, item.quantized_modules.length)
      for (const { path, inputScale, outputScale, outputQuantized } of report) {
        const theirs = item.activation_scales[path]
        for (const [ours, scale] of [
          [inputScale, theirs.input_scale],
          [outputScale, theirs.output_scale],
        ] as const)
          assert.ok(Math.abs(ours / scale - 1) < 1e-5, `${path}: ${ours}, not ${scale}`)
        assert.equal(outputQuantized, theirs.output_quantized, path)
      }
      freeze(model)
      await checkWeights(model, { ...item.expected, weight_stats: item.weight_stats }, new Map())
      const file = await readExpected(join(golden, 'expected/quanto-qint8-a8.safetensors'))
      compareLogits(await logitsOf(model, inputs.prompt_ids), file.get('prompt_logits'))
      await checkPerplexity(model, item.expected, 1e-4)
      assert.ok((await checkGreedy(model, item.expected, 1e-2)) > 20)

      // quanto's files do not say what streamlining left float: loaded, every module quantizes its output.
      for (const [, module] of model.namedModules())
        if (module instanceof QModule) module.outputQuantized = true
      compareLogits(await logitsOf(model, inputs.prompt_ids), file.get('reloaded_prompt_logits'))
      await checkPerplexity(model, item.expected_reloaded, 1e-4)
    })
  })
}

/** The codes behind them are the same, so that they differ as much as the scales may; one code of lm_head's input more or less
 * would move some logit by 0.025, a hundred times as much. */
function compareLogits(ours: Float32Array, theirs: Float32Array | undefined): void {
  assert.ok(theirs)
  const largest = theirs.reduce((max, value) => Math.max(max, Math.abs(value)), 0)
  for (const [i, value] of ours.entries()) {
    assert.ok(Math.abs(value - theirs[i]) <= 1e-5 * largest, `logit ${i} is ${value}, quanto's ${theirs[i]}`)
  }
}

function runBatches(device: Device, model: CausalLM, batches: number[][][]): void {
  for (const batch of batches) {
    scope(() => {
      const ids = Tensor.fromArray(
        device,
        Int32Array.from(batch.flat()),
        [batch.length, batch[0].length],
        'int32',
      )
      model.forward(ids)
    })
  }
}
