import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { loadCausalLM, quantizeCalibrated } from '../../../src/index.ts'
import { QLinear } from '../../../src/nn/qlinear.ts'
import { largestColumns, smoothingFactors } from '../../../src/quantize/algorithms/smooth.ts'
import { type SmoothQuantOptions, smoothQuant } from '../../../src/quantize/algorithms/smoothQuant.ts'
import type { CalibratedAlgorithm } from '../../../src/quantize/calibrated/algorithm.ts'
import { keep, scope } from '../../../src/tensor/scope.ts'
import { Tensor } from '../../../src/tensor/tensor.ts'
import { deviceNames } from '../../deviceNames.ts'
import { golden, readGolden } from '../../golden.ts'
import { boundRow } from '../../goldenTable.ts'
import { distanceOf } from '../structure/distance.ts'

const folder = join(golden, 'single_tensor')
const inputs = await readGolden(join(folder, 'inputs.safetensors'))
const ids = [3, 1, 4, 1, 5, 9, 2, 6]
const data = [ids, ids.toReversed()]

for (const deviceName of deviceNames) {
  describe(`smoothQuant on ${deviceName}`, () => {
    const device = openDevice(deviceName, { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
      await device.close()
    })

    for (const alpha of [0.5, 0.75])
      test(`torchao's factors, alpha ${alpha}`, async () => {
        const tensors = await readGolden(join(folder, `smoothquant_a${alpha}.safetensors`))
        const { values } = tensors.get('smoothing_factor') ?? assert.fail()
        const input = (name: string) => {
          const { values, shape } = inputs.get(name) ?? assert.fail(name)
          return Tensor.fromNumbers(device, values, shape)
        }
        using x = input('X')
        using w = input('W')
        using factors = scope(() => smoothingFactors(largestColumns(x), largestColumns(w), alpha))
        let farthest = 0
        for (const [i, factor] of (await factors.toNumbers()).entries()) {
          const apart = Math.abs(factor / values[i] - 1)
          assert.ok(apart < 1e-6, `${factor} at ${i}; torchao ${values[i]}`)
          farthest = Math.max(farthest, apart)
        }
        boundRow(`smoothquant_a${alpha}`, deviceName, 'factors of columns', farthest / 1e-6)
      })

    const load = () =>
      loadCausalLM(join(import.meta.dirname, '../../../models/stories260K'), { device, dtype: 'float32' })

    for (const options of [{}, { alpha: 'auto' }, { alpha: 0.8 }] satisfies SmoothQuantOptions[])
      test(`the float model computes the same, ${JSON.stringify(options)}`, async () => {
        using model = await load()
        using before = model.forward(ids)
        const float = await before.toNumbers()
        const norms = new Set([...model.namedTensors()].map(([, tensor]) => tensor))
        const probe: CalibratedAlgorithm = {
          name: 'probe',
          async prepare(run) {
            using y = model.forward(ids)
            assert.ok(distanceOf(float, await y.toNumbers()) < 1e-5)
            const changed = [...run.model.namedTensors()].filter(([, tensor]) => !norms.has(tensor))
            // Two norms, three and two layers behind them, in each of five layers.
            assert.equal(changed.length, 5 * (2 + 3 + 2))
          },
        }
        await quantizeCalibrated(model, {
          algorithm: [smoothQuant(options), probe],
          data,
          exclude: 'lm_head',
        })
        using y = model.forward(ids)
        assert.ok(distanceOf(float, await y.toNumbers()) < 0.05)
      })

    test('static scales are the largest inputs / 127, and outputs that no layer takes stay float', async () => {
      using model = await load()
      const path = 'model.layers.0.self_attn.q_proj'
      let largest = 0
      const watch: CalibratedAlgorithm = {
        name: 'watch',
        async prepare(run) {
          const taken: Tensor[] = []
          using _ = run.model
            .getModule(path)
            .observe({ input: ([x]) => taken.push(keep((x as Tensor).clone())) })
          await run.pass(async () => {
            for (const x of taken.splice(0)) {
              largest = Math.max(largest, ...(await x.toNumbers()).map(Math.abs))
              x.dispose()
            }
          })
        },
      }
      const algorithm = [smoothQuant({ activations: 'static' }), watch]
      await quantizeCalibrated(model, { algorithm, data, exclude: 'lm_head' })
      const twin = model.getModule(path)
      assert.ok(twin instanceof QLinear && twin.input_scale)
      // What a block takes is kept in 16 bits.
      assert.ok(Math.abs((await twin.input_scale.item()) / (largest / 127) - 1) < 2 ** -10)
      assert.equal(twin.outputQuantized, false)
    })

    test('mappings', async () => {
      using model = await load()
      const smoothed = (mappings: SmoothQuantOptions['mappings']) =>
        quantizeCalibrated(model, { algorithm: smoothQuant({ mappings }), data, exclude: 'lm_head' })
      await assert.rejects(
        smoothed([{ smoothLayer: 're:.*input_layernorm', balanceLayers: ['*.q_proj', '*.k_proj'] }]),
        /balanceLayers must name all layers that take the channels of model\.layers\.0\.input_layernorm; model\.layers\.0\.self_attn\.v_proj does, too/,
      )
      await assert.rejects(
        smoothed([{ smoothLayer: '*v_proj', balanceLayers: '*o_proj' }]),
        /\*v_proj feeds none of \*o_proj through which a factor passes/,
      )
      const weight = model.getParameter('model.layers.1.input_layernorm.weight')
      const other = model.getParameter('model.layers.1.post_attention_layernorm.weight')
      await smoothed([{ smoothLayer: '*input_layernorm', balanceLayers: 're:.*(q|k|v)_proj' }])
      assert.notEqual(model.getParameter('model.layers.1.input_layernorm.weight'), weight)
      assert.equal(model.getParameter('model.layers.1.post_attention_layernorm.weight'), other)
    })
  })
}
