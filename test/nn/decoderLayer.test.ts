import assert from 'node:assert/strict'
import { activations } from '../../src/nn/activations.ts'
import { withoutCache } from '../../src/nn/attentionCache.ts'
import { DecoderLayer, type DecoderLayerOptions, type DecoderLayerParts } from '../../src/nn/decoderLayer.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { GatedMLP } from '../../src/nn/mlp.ts'
import { Module } from '../../src/nn/module.ts'
import { RMSNorm } from '../../src/nn/rmsNorm.ts'
import { affine } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

/** y = x · scale + offset in the place of an attention, an MLP or a norm. */
class Affine extends Module {
  private readonly scale: number
  private readonly offset: number

  constructor(scale: number, offset: number) {
    super()
    this.scale = scale
    this.offset = offset
  }

  forward(x: Tensor): Tensor {
    return affine(x, this.scale, this.offset)
  }
}

type Norms = Omit<DecoderLayerParts, 'attention' | 'mlp'>
const norms = { attentionNorm: new Affine(2, 0), mlpNorm: new Affine(1, 1) }

/** attention(x) = 3x, mlp(x) = 5x + 1, on x = 1. */
const forms: [name: string, Norms, DecoderLayerOptions, number][] = [
  // h = 1 + 3 · 2 = 7, 7 + 5 · (7 + 1) + 1.
  ['norms before', norms, {}, 48],
  // h = 2 · (1 + 3) = 8, 8 + 41 = 49, and 1.
  ['norms after the sums', norms, { form: 'postNorm' }, 50],
  // 1 + 3 · 2 + 5 · (1 + 1) + 1.
  ['parallel, two norms', norms, { form: 'parallel' }, 18],
  // 1 + 3 · 2 + 5 · 2 + 1.
  ['parallel, one norm', { attentionNorm: norms.attentionNorm }, { form: 'parallel' }, 18],
  // h = 1 + 10 · 3 = 31, 31 + 156 + 7.
  [
    'norms of what is added',
    { attentionOutputNorm: new Affine(10, 0), mlpOutputNorm: new Affine(1, 7) },
    {},
    194,
  ],
  // h = 1 + 6 / 2 = 4, 4 + (5 · 5 + 1) / 2.
  ['a residual multiplier', norms, { residualMultiplier: 0.5 }, 17],
  // 1 + 6 / 4 + (5 · 2 + 1) / 4.
  ['a residual multiplier, parallel', norms, { form: 'parallel', residualMultiplier: 0.25 }, 5.25],
]

testOnDevices('the forms of a decoder layer', async (device) => {
  using x = Tensor.fromNumbers(device, [1], [1, 1, 1])
  for (const [name, given, options, expected] of forms) {
    const parts = { attention: new Affine(3, 0), mlp: new Affine(5, 1), ...given }
    const layer = new DecoderLayer(parts, { type: 'Layer', parts: {} }, options)
    using y = layer.forward(x, { cache: withoutCache, position: 0 })
    assert.deepEqual([...(await y.toNumbers())], [expected], name)
  }
})

testOnDevices('a gated MLP: other activations, and one projection for gate and values', async (device) => {
  const weights = (...rows: number[][]) => {
    const layer = new Linear(rows[0].length, rows.length, { bias: false })
    layer.weight = Tensor.fromNumbers(device, rows.flat(), [rows.length, rows[0].length])
    return layer
  }
  const names = { type: 'MLP', parts: { gateUp: 'gate_up_proj' } }
  const down = () => weights([1, 10])
  using x = Tensor.fromNumbers(device, [1, 2], [1, 2])
  using two = new GatedMLP(
    { gate: weights([1, 1], [-1, 0]), up: weights([0, 2], [1, 1]), down: down() },
    names,
    activations.relu,
  )
  // relu([3, −1]) · [4, 3] = [12, 0].
  using a = two.forward(x)
  assert.deepEqual([...(await a.toNumbers())], [12])
  using one = new GatedMLP(
    { gateUp: weights([1, 1], [-1, 0], [0, 2], [1, 1]), down: down() },
    names,
    activations.relu2,
  )
  // [9, 0] · [4, 3].
  using b = one.forward(x)
  assert.deepEqual([...(await b.toNumbers())], [36])
  assert.deepEqual(
    [...one.namedParameters()].map(([path]) => path),
    ['gate_up_proj.weight', 'down.weight'],
  )
})

testOnDevices('an RMS norm that multiplies by 1 + weight', async (device) => {
  using norm = new RMSNorm(2, 0, { unitOffset: true })
  norm.weight = Tensor.fromNumbers(device, [1, -0.5], [2])
  using x = Tensor.fromNumbers(device, [3, 3], [1, 2])
  using y = norm.forward(x)
  assert.deepEqual([...(await y.toNumbers())], [2, 0.5])
  using fresh = initialize(new RMSNorm(2, 0, { unitOffset: true }), device)
  using same = fresh.forward(x)
  assert.deepEqual([...(await same.toNumbers())], [1, 1])
})

testOnDevices('activations by their names in config.json', async (device) => {
  using x = Tensor.fromNumbers(device, [-2, 1])
  // torch.nn.functional and transformers' ACT2FN on [−2, 1].
  const expected: Partial<Record<keyof typeof activations, [number, number]>> = {
    quick_gelu: [-0.0643414, 0.8457958],
    gelu: [-0.0455003, 0.8413447],
    gelu_new: [-0.0454023, 0.841192],
    silu: [-0.2384058, 0.7310586],
    relu2: [0, 1],
    relu6: [0, 1],
    linear: [-2, 1],
  }
  for (const [name, values] of Object.entries(expected)) {
    const y = activations[name as keyof typeof activations](x)
    const found = await y.toNumbers()
    values.forEach((value, i) => {
      assert.ok(Math.abs(found[i] - value) < 1e-6, `${name}: ${found[i]}, not ${value}`)
    })
    if (y !== x) y.dispose()
  }
})
