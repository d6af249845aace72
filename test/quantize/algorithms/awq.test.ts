import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { loadCausalLM, perplexity, quantizeCalibrated } from '../../../src/index.ts'
import { awq } from '../../../src/quantize/algorithms/awq.ts'
import type { CalibratedAlgorithm } from '../../../src/quantize/calibrated/algorithm.ts'
import { deviceNames } from '../../deviceNames.ts'
import { golden } from '../../golden.ts'
import { numberRow } from '../../goldenTable.ts'
import { distanceOf } from '../structure/distance.ts'

const stories = join(import.meta.dirname, '../../../models/stories260K')
const text = readFileSync(join(import.meta.dirname, '../../../models/tinystories.txt'), 'utf8')
const inputs = JSON.parse(readFileSync(join(golden, 'stories260K/inputs.json'), 'utf8'))
/** What the golden models were calibrated on. */
const data: number[][] = inputs.calib_batches.flat()

for (const deviceName of deviceNames) {
  describe(`awq on ${deviceName}`, () => {
    const device = openDevice(deviceName, { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
      await device.close()
    })

    test('as good as the golden model, of which attention alone is quantized', async () => {
      using model = await loadCausalLM(stories, { device, dtype: 'float32' })
      const algorithm = awq({ bits: 4, groupSize: 32 })
      await quantizeCalibrated(model, { algorithm, data, exclude: ['lm_head', '*mlp*'] })
      const { perplexity: ours } = await perplexity(model, text, { context: 128, stride: 128 })
      // manifest.json of the golden set, stories260K/awq-gemm-g32-attn; the float model has 5.9024.
      const theirs = 6.021575001937901
      assert.ok(ours <= 1.002 * theirs, `${ours}`)
      assert.ok(ours > 5.9)
      numberRow('stories260K/awq-gemm-g32-attn', deviceName, 'perplexity', ours, theirs, '0.2 % above')
    })

    for (const folder of ['models/mixtral', 'models/gptj', 'models/falcon', 'shakespeare-gpt2-1M/float'])
      test(`${folder}: the float blocks give the same`, async () => {
        using model = await loadCausalLM(join(golden, folder), { device, dtype: 'float32' })
        const ids = data.slice(0, 2).map((sample) => sample.map((id) => id % 48))
        const held = model.parameters()
        let blocks = 0
        const probe: CalibratedAlgorithm = {
          name: 'probe',
          async block(block) {
            using x = await block.input(1)
            using y = block.forward(1, x)
            using target = await block.target(1)
            // Targets are kept in 16 bits.
            assert.ok(distanceOf(await target.toNumbers(), await y.toNumbers()) < 2e-3)
            assert.ok(
              [...block.layers.values()].some(({ float }) => !held.has(float.weight)),
              'by other weights',
            )
            blocks++
          },
        }
        const algorithm = [awq({ groupSize: 8, clip: false, grid: 4 }), probe]
        await quantizeCalibrated(model, { algorithm, data: ids, exclude: 'lm_head' })
        assert.ok(blocks > 1)
      })
  })
}
