import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { ShapeError } from '../../src/core/errors.ts'
import { openDevice } from '../../src/devices/open.ts'
import { compareOutputs } from '../../src/evaluate/compareOutputs.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

/** Two layers, of which the first runs as often as told. */
class Net extends Module {
  first = new Linear(2, 2, { bias: false })
  second = new Linear(2, 1, { bias: false })
  private readonly times: number

  constructor(first: number[], second: number[], times = 1) {
    super()
    this.times = times
    this.first.weight = Tensor.fromArray(device, Float32Array.from(first), [2, 2])
    this.second.weight = Tensor.fromArray(device, Float32Array.from(second), [1, 2])
  }

  forward(x: Tensor): Tensor {
    for (let i = 0; i < this.times; i++) x = this.first.forward(x)
    return this.second.forward(x)
  }
}

const near = (actual: number, expected: number) => assert.ok(Math.abs(actual - expected) < 1e-6, `${actual}`)

describe('outputs of every layer beside the float ones', () => {
  const x = Tensor.fromArray(device, Float32Array.of(1, 1), [1, 2])

  test('in their order, with values worked by hand', async () => {
    // first: (3, 4) and (4, 3); second: 3 + 2 · 4 = 11 and 4 + 2 · 3 = 10.
    const differences = await compareOutputs(new Net([1, 2, 2, 2], [1, 2]), new Net([2, 2, 1, 2], [1, 2]), x)
    assert.deepEqual(
      differences.map(({ path }) => path),
      ['first', 'second', ''],
    )
    const [first, second, model] = differences
    near(first.relativeError, Math.sqrt(2) / 5)
    near(first.snr, 10 * Math.log10(25 / 2))
    near(first.cosine, 24 / 25)
    near(second.relativeError, 1 / 11)
    near(second.snr, 20 * Math.log10(11))
    near(second.cosine, 1)
    assert.deepEqual({ ...model, path: 'second' }, second)
  })

  test('a layer that runs twice counts with both outputs; what is the same has no noise', async () => {
    // Twice the identity, and twice the double: (1, 1), (1, 1) and (2, 2), (4, 4).
    const differences = await compareOutputs(
      new Net([1, 0, 0, 1], [1, 2], 2),
      new Net([2, 0, 0, 2], [1, 2], 2),
      x,
    )
    near(differences[0].relativeError, Math.sqrt((2 * 1 + 2 * 9) / 4))
    near(differences[0].cosine, 12 / Math.sqrt(4 * 40))
    const same = new Net([1, 0, 0, 1], [1, 2])
    const none = await compareOutputs(same, same, x)
    assert.deepEqual(none[0], { path: 'first', relativeError: 0, snr: Infinity, cosine: 1 })
  })

  test('a language model takes ids', async () => {
    using float = await loadCausalLM('models/stories260K', { device })
    using small = await loadCausalLM('models/stories260K', { device })
    quantize(small, { weights: 'int4', exclude: 'lm_head' })
    freeze(small)
    const ids = [1, 403, 407, 261]
    const differences = await compareOutputs(float, small, ids)
    const paths = differences.map(({ path }) => path)
    assert.equal(paths[0], 'model.embed_tokens')
    assert.ok(paths.indexOf('model.layers.0.self_attn.q_proj') < paths.indexOf('model.layers.0.self_attn'))
    assert.ok(paths.indexOf('model.layers.0') < paths.indexOf('model.layers.1'))
    assert.equal(differences[0].relativeError, 0)
    for (const { path, relativeError, cosine } of differences.filter(({ path }) => path.includes('layers.')))
      if (!path.endsWith('layers.0.input_layernorm'))
        assert.ok(relativeError > 0 && relativeError < 0.6 && cosine > 0.8, `${path}: ${relativeError}`)
  })

  test('refuses models that differ in shape, and those with nothing in common', async () => {
    class Other extends Module {
      other = new Linear(2, 2, { bias: false })
      forward(): number {
        return 1
      }
    }
    const net = new Net([1, 0, 0, 1], [1, 2])
    const wider = new Net([1, 0, 0, 1], [1, 2])
    wider.second = new Linear(2, 2, { bias: false })
    wider.second.weight = Tensor.fromArray(device, Float32Array.of(1, 0, 0, 1), [2, 2])
    await assert.rejects(compareOutputs(net, wider, x), ShapeError)
    await assert.rejects(compareOutputs(net, new Other(), x), /same paths/)
  })
})
