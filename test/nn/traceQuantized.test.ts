import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { DeviceError } from '../../src/core/errors.ts'
import { openDevice } from '../../src/devices/open.ts'
import {
  Conv2d,
  calibrate,
  compile,
  freeze,
  hqq,
  initialize,
  Linear,
  Module,
  ops,
  type QuantizeOptions,
  quantize,
  Sequential,
  trace,
} from '../../src/index.ts'
import { int4WeightOnly } from '../../src/quantize/recipes.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

function waves(shape: readonly number[], scale = 1): Tensor {
  const count = shape.reduce((product, size) => product * size, 1)
  return Tensor.fromNumbers(
    device,
    Array.from({ length: count }, (_, i) => scale * Math.sin(i + scale)),
    shape,
  )
}

const layers = { linear: () => new Linear(64, 4), conv: () => new Conv2d(4, 4, 3) }
const inputs = { linear: [2, 64], conv: [1, 4, 5, 5] }

describe('graph and list of a model that is not frozen quantize its weight of now', () => {
  const cases: [name: string, layer: keyof typeof layers, options: QuantizeOptions][] = [
    ['int4 in groups', 'linear', { weights: 'int4', groupSize: 32 }],
    ['hqq', 'linear', { weights: 'int4', algorithm: hqq() }],
    ['int8 on both sides', 'linear', { weights: 'int8', activations: 'int8' }],
    ['int4WeightOnly', 'linear', int4WeightOnly({ groupSize: 32 })],
    ['a convolution', 'conv', { weights: 'int8' }],
  ]
  for (const [name, layer, options] of cases)
    test(name, async () => {
      const model = initialize(new Sequential(layers[layer]()), device, { seed: 1 })
      const x = waves(inputs[layer])
      quantize(model, options)
      const forward = () => scope(() => model.forward(x) as Tensor)
      if (options.activations) await calibrate(model, forward)
      using graph = trace(model, [x])
      using compiled = compile(model, [x])
      const before = await forward().read()
      const weight = model.getParameter('0.weight')
      weight.dequantize().write(await waves(weight.shape, 3).readBytes())
      const now = await forward().read()
      assert.notDeepEqual(now, before)
      assert.deepEqual(await (graph.run(x) as Tensor).read(), now)
      assert.deepEqual(await (compiled.run(x) as Tensor).read(), now)
    })
})

test('the graph shows that a weight is quantized, and nothing that is not used', () => {
  const model = initialize(new Sequential(new Linear(64, 4)), device, { seed: 1 })
  quantize(model, { weights: 'int4', groupSize: 32 })
  using graph = trace(model, [waves([2, 64])])
  assert.equal(
    String(graph),
    [
      'graph(%input0 [2,64] float32)',
      '  %0 = quantizeWeight(weight=0.weight, qtype=qint4, groupSize=32, quantizer=max) [4,64] qint4  # 0',
      '  %1 = linear(%input0, %0, bias=0.bias, computeDtype=float32) [2,4] float32  # 0',
      '  return %1',
    ].join('\n'),
  )
})

/** Adds a table of 4 MB of its own, then fails. */
class Failing extends Module {
  forward(x: Tensor): Tensor {
    ops.add(x, Tensor.full(device, x.shape, 1))
    throw new Error('no more')
  }
}

describe('what cannot be compiled gives everything back', () => {
  test('a forward that throws', () => {
    const x = Tensor.full(device, [2 ** 20], 1)
    const allocated = device.allocatedBytes
    assert.throws(() => trace(new Failing(), [x]), { message: 'no more' })
    assert.equal(device.allocatedBytes, allocated)
  })

  test('a quantizer that brings numbers of the host', () => {
    const model = initialize(new Sequential(new Linear(64, 4)), device, { seed: 1 })
    quantize(model, { weights: 'nf4' })
    const x = waves([2, 64])
    const allocated = device.allocatedBytes
    assert.throws(() => compile(model, [x]), {
      name: DeviceError.name,
      message: 'compile: write: a kept list cannot hold bytes of the host; freeze the model first',
    })
    assert.equal(device.allocatedBytes, allocated)
    freeze(model)
    compile(model, [x]).dispose()
  })
})
