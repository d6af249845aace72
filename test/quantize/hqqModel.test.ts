import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden, goldenItem } from '../golden.ts'
import { numberRow } from '../goldenTable.ts'
import { inputs, manifest as kept, readExpected, stories } from '../models/golden.ts'

interface Item {
  id: string
  expected: { perplexity: number }
  quantized_modules: string[]
  /** Sum, sum of magnitudes and L2 norm. */
  weight_stats: Record<string, [number, number, number]>
}

for (const name of deviceNames) {
  describe(`stories260K with quanto's hqq on ${name}`, () => {
    test('weights, and perplexity within 0.05 %', async () => {
      const item = goldenItem<Item>('stories260K/quanto-qint4-hqq')
      const rows = await readExpected(join(golden, 'stories260K/expected/quanto-qint4-hqq.safetensors'))
      const device = openDevice(name, { threads: 2 })
      const model = await loadCausalLM(stories, { device })
      quantize(model, { weights: 'int4', algorithm: 'hqq' })
      freeze(model)
      const quantized = [...model.namedModules()]
        .filter(([, module]) => module instanceof QLinear)
        .map(([path]) => path)
      assert.deepEqual(quantized.sort(), item.quantized_modules)
      for (const [path, [, magnitudes]] of Object.entries(item.weight_stats)) {
        const weight = model.getParameter(path)
        if (!(weight instanceof QTensor)) continue
        const values = await weight.dequantize().toNumbers()
        const scales = await weight.scale().toNumbers()
        const scale = Math.max(...scales)
        // Equal codes, and shifts within 1e-5 of a scale: no weight is further off.
        let sum = 0
        for (const value of values) sum += Math.abs(value)
        assert.ok(
          Math.abs(sum - magnitudes) <= 1e-5 * scale * values.length,
          `${path}: Σ |w| is ${sum}, not ${magnitudes}`,
        )
        for (const [i, theirs] of (rows.get(`dequant.${path}`) ?? new Float32Array()).entries())
          assert.ok(
            Math.abs(values[i] - theirs) <= 1e-5 * scale,
            `${path}[${i}] is ${values[i]}, not ${theirs}`,
          )
      }
      const { perplexity: ours } = await perplexity(model, inputs.ppl_ids, { context: kept.context })
      assert.ok(
        Math.abs(ours / item.expected.perplexity - 1) <= 5e-4,
        `perplexity ${ours}, Python's is ${item.expected.perplexity}`,
      )
      numberRow('quanto-qint4-hqq', name, 'perplexity', ours, item.expected.perplexity, '0.05 %')
      await device.close()
    })
  })
}
