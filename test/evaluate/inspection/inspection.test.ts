import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { channelMagnitudes } from '../../../src/evaluate/inspection/channels.ts'
import { LayerDivergences } from '../../../src/evaluate/inspection/layerDivergences.ts'
import { countWeights, weightHistogram } from '../../../src/evaluate/inspection/weightHistogram.ts'
import { perplexity } from '../../../src/evaluate/perplexity.ts'
import { loadCausalLM } from '../../../src/models/load.ts'
import { Linear } from '../../../src/nn/linear.ts'
import { Module } from '../../../src/nn/module.ts'
import { QLinear } from '../../../src/nn/qlinear.ts'
import { freeze, planTwins, quantize } from '../../../src/quantize/quantize.ts'
import { Tensor } from '../../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

class Net extends Module {
  fc = new Linear(4, 2, { bias: false })

  constructor(weight: number[]) {
    super()
    this.fc.weight = Tensor.fromArray(device, Float32Array.from(weight), [2, 4])
  }

  forward(x: Tensor): Tensor {
    return this.fc.forward(x)
  }
}

describe('what a report measures', () => {
  test('weights more than half a step beyond what codes reach are clipped', () => {
    // Steps of 2 from −2 to 2: −3 and 3 still round to the last codes.
    const weights = [-3, -1, 0, 3, 3.5, -4.4]
    const same = (value: number) => weights.map(() => value)
    const { counts, clipped, clippedShare, edges, range } = countWeights(weights, same(-2), same(2), 2)
    assert.equal(clippedShare, 2 / 6)
    assert.equal(counts.length, 64)
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      6,
    )
    assert.deepEqual([clipped[0], clipped[63]], [1, 1])
    assert.deepEqual([edges[0], range], [-4.4, [-2, 2]])
    assert.ok(Math.abs(edges[64] - 3.5) < 1e-9)
  })

  test('the range of int8 weights is −128 to 127 of their scale, and none is clipped', async () => {
    // absmax: scales 127 / 127 = 1 and 254 / 127 = 2.
    const net = new Net([127, -3, 5, 0, -254, 2, 4, 254])
    const float = net.fc.weight.dequantize().clone()
    quantize(net, { weights: 'int8' })
    freeze(net)
    const layer = net.getModule('fc')
    assert.ok(layer instanceof QLinear)
    const { clippedShare, range } = await weightHistogram(layer, float)
    assert.equal(clippedShare, 0)
    // Of the two rows the upper median: the sorted ends are −256, −128 and 127, 254.
    assert.deepEqual(range, [-128, 254])
  })

  test('the largest |x| of each channel of an input', async () => {
    const net = new Net([0, 0, 0, 0, 0, 0, 0, 0])
    const x = Tensor.fromArray(device, Float32Array.of(1, -9, 0.5, 2, -3, 4, 0.25, 1), [2, 4])
    const [found] = await channelMagnitudes(net, ['fc'], () => net.forward(x))
    assert.equal(found.path, 'fc')
    assert.equal(found.median, 2)
    assert.deepEqual(found.largest, [
      { channel: 1, magnitude: 9 },
      { channel: 0, magnitude: 3 },
      { channel: 3, magnitude: 2 },
      { channel: 2, magnitude: 0.5 },
    ])
  })

  test('one layer at a time: the model itself has none, all at once are those of perplexity', async () => {
    using model = await loadCausalLM('models/stories260K', { device })
    using small = await loadCausalLM('models/stories260K', { device })
    quantize(small, { weights: 'int4' })
    const ids = [1, 403, 407, 261, 378, 500, 12, 77]
    const divergences = new LayerDivergences(model, ids)
    const before = String(model)
    const itself = await divergences.with(new Map())
    assert.equal(itself.klDivergence, 0)
    const float = await perplexity(model, ids, { context: 8 })
    assert.ok(Math.abs(itself.perplexity / float.perplexity - 1) < 1e-5)
    const planned = planTwins(model, { weights: 'int4' })
    const all = new Map([...planned.values()].map(({ layer, twin }) => [layer, twin]))
    const { perplexity: expected } = await perplexity(small, ids, { context: 8 })
    const together = await divergences.with(all)
    assert.ok(Math.abs(together.perplexity / expected - 1) < 1e-5)
    assert.ok(Math.abs((await divergences.withModel(small)).klDivergence / together.klDivergence - 1) < 1e-4)
    const twins = new Map([...planned].map(([path, { twin }]) => [path, twin]))
    const each = await divergences.each(twins)
    assert.deepEqual([...each.keys()], [...planned.keys()])
    assert.ok([...each.values()].every(({ klDivergence }) => klDivergence > 0))
    // What begins in the middle of the model is what the whole model gives.
    const path = 'model.layers.2.mlp.up_proj'
    using alone = await loadCausalLM('models/stories260K', { device })
    quantize(alone, { weights: 'int4', include: path })
    const whole = (await divergences.withModel(alone)).klDivergence
    assert.ok(Math.abs((each.get(path)?.klDivergence ?? 0) / whole - 1) < 1e-4)
    assert.equal((await divergences.each(twins, { until: 0 })).size, 0)
    await assert.rejects(divergences.each(twins, { signal: AbortSignal.abort() }), { name: 'AbortError' })
    assert.equal(String(model), before)
    divergences.dispose()
  })
})
