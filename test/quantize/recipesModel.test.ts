import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import { setComputeDtype } from '../../src/nn/qmodule.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { freeze, type QuantizeOptions, quantizationMap, quantize } from '../../src/quantize/quantize.ts'
import {
  float8WeightOnly,
  int4WeightOnly,
  int8DynamicActivationInt8Weight,
  int8WeightOnly,
  intxWeightOnly,
  quantizeByName,
} from '../../src/quantize/recipes.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden, goldenItem } from '../golden.ts'
import { equalRow, numberRow } from '../goldenTable.ts'
import { inputs, manifest as kept, stories } from '../models/golden.ts'

interface Item {
  id: string
  /** Of a float32 model that holds the dequantized weights. */
  expected: { perplexity: number }
  /** Of the library's own forward pass, activations quantized where the recipe says so. */
  expected_lib: { perplexity: number }
  quantized_modules: string[]
}

const variants: Record<string, QuantizeOptions & { offset?: number }> = {
  'torchao-int8wo': { ...int8WeightOnly(), exclude: 'lm_head' },
  'torchao-int4-g32': {
    ...intxWeightOnly({ weightDtype: 'int4', groupSize: 32 }),
    exclude: ['lm_head', '*.down_proj'],
    offset: 8,
  },
  'torchao-float8wo': { ...float8WeightOnly(), exclude: 'lm_head' },
  'torchao-int8dyn': {
    ...int8DynamicActivationInt8Weight(),
    exclude: 'lm_head',
  },
}

for (const name of deviceNames) {
  describe(`stories260K with torchao's recipes on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(() => device.close())
    for (const [variant, { offset = 0, ...options }] of Object.entries(variants)) {
      test(`${variant}: codes and scales of torchao's folder, perplexity`, async () => {
        const item = goldenItem<Item>(`stories260K/${variant}`)
        using model = await loadCausalLM(stories, { device })
        const replaced = quantize(model, options)
        freeze(model)
        assert.deepEqual(replaced.sort(), item.quantized_modules.sort())
        const file = await openSafetensors(
          await diskFolder(join(golden, 'stories260K', variant)).open('model.safetensors'),
        )
        for (const path of replaced) {
          const weight = model.getParameter(`${path}.weight`)
          assert.ok(weight instanceof QTensor)
          const codes = await weight.codes().readBytes()
          const theirs = (await file.read(`${path}._weight_qdata`)).map((code) => code + offset)
          assert.ok(Buffer.from(codes).equals(theirs), `${path}: codes differ`)
          const scales = await weight.scale().readBytes()
          assert.ok(
            Buffer.from(scales).equals((await file.read(`${path}._weight_scale`)).slice()),
            `${path}: scales differ`,
          )
        }
        await file.close()
        equalRow(variant, name, 'codes, scales')
        const dynamic = options.computeDtype !== undefined
        const { perplexity: truth } = dynamic ? item.expected_lib : item.expected
        const { perplexity: ours } = await perplexity(model, inputs.ppl_ids, { context: kept.context })
        assert.ok(
          Math.abs(ours / truth - 1) <= (dynamic ? 2e-3 : 5e-4),
          `perplexity ${ours}, torchao's is ${truth}`,
        )
        numberRow(variant, name, 'perplexity', ours, truth, dynamic ? '0.2 %' : '0.05 %')
        if (!dynamic) return
        setComputeDtype(model, 'float32')
        const { perplexity: float } = await perplexity(model, inputs.ppl_ids, { context: kept.context })
        assert.ok(
          Math.abs(float / item.expected.perplexity - 1) <= 5e-4,
          `perplexity ${float}, torchao's is ${item.expected.perplexity}`,
        )
      })
    }
  })
}

describe('recipes by name', () => {
  const device = openDevice('cpu', { threads: 1 })
  after(() => device.close())

  test('names first, then patterns in order, then the default; null leaves a layer float', async () => {
    using model = await loadCausalLM(stories, { device })
    const replaced = quantizeByName(model, {
      _default: int8WeightOnly(),
      're:model\\.layers\\.[01]\\..*_proj': int4WeightOnly({ groupSize: 32 }),
      're:.*\\.down_proj': null,
      'model.layers.0.mlp.down_proj': float8WeightOnly(),
      'model.layers.1.mlp.down_proj': null,
      lm_head: null,
      // A pattern must match all of a path, so this one matches nothing that ends otherwise.
      're:model\\.layers\\.2': int4WeightOnly(),
    })
    const map = quantizationMap(model)
    assert.deepEqual(Object.keys(map).sort(), replaced.sort())
    const weights = (path: string) => map[path]?.weights
    assert.equal(weights('model.layers.0.mlp.down_proj'), 'qfloat8_e4m3fn')
    assert.equal(weights('model.layers.1.mlp.down_proj'), undefined)
    assert.equal(weights('model.layers.2.mlp.down_proj'), undefined)
    assert.equal(weights('model.layers.1.mlp.up_proj'), 'qint4')
    assert.equal(weights('model.layers.2.mlp.up_proj'), 'qint8')
    assert.equal(weights('lm_head'), undefined)
    const twins = [...model.namedModules()].filter(([, module]) => module instanceof QLinear)
    assert.equal(twins.length, replaced.length)
  })

  test('a name or pattern that matches nothing is an error that names the nearest', async () => {
    using model = await loadCausalLM(stories, { device })
    assert.throws(
      () => quantizeByName(model, { lmhead: int8WeightOnly() }),
      /quantizeByName: "lmhead" must match a module; the nearest are lm_head/,
    )
    assert.throws(
      () => quantizeByName(model, { 're:.*lin': int8WeightOnly() }),
      /quantizeByName: "re:\.\*lin" must match a module/,
    )
  })
})
