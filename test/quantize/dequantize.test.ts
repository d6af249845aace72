import assert from 'node:assert/strict'
import { Random } from '../../src/core/random.ts'
import { epsilon } from '../../src/kernels/inputs.ts'
import { Conv1d } from '../../src/nn/conv1d.ts'
import { Conv2d } from '../../src/nn/conv2d.ts'
import { ConvTranspose2d } from '../../src/nn/convTranspose.ts'
import { Embedding } from '../../src/nn/embedding.ts'
import { Conv1D } from '../../src/nn/gptConv1D.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { LayerNorm } from '../../src/nn/normalization.ts'
import { QWeightModule } from '../../src/nn/qmodule.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { registerQuantizedModule } from '../../src/nn/twins.ts'
import { dequantize } from '../../src/quantize/dequantize.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

/** Every layer that has a twin, with what it takes. */
class Layers extends Module {
  linear = new Linear(24, 10)
  unbiased = new Linear(24, 10, { bias: false })
  conv1d = new Conv1d(4, 6, 3, { padding: 1 })
  conv2d = new Conv2d(4, 6, 3, { stride: 2, padding: 'valid', groups: 2 })
  turned = new ConvTranspose2d(4, 6, 3, { stride: 2, outputPadding: 1 })
  conv1D = new Conv1D(12, 24)
  norm = new LayerNorm(24, { eps: 1e-3 })
  embedding = new Embedding(7, 24)

  inputs: Record<string, number[]> = {
    linear: [5, 24],
    unbiased: [5, 24],
    conv1d: [2, 4, 9],
    conv2d: [2, 4, 9, 9],
    turned: [2, 4, 5, 5],
    conv1D: [5, 24],
    norm: [5, 24],
  }
}

const names = ['linear', 'unbiased', 'conv1d', 'conv2d', 'turned', 'conv1D', 'norm', 'embedding'] as const

/** Linear, but not known to lowbit. */
class Own extends Linear {}
class QOwn extends QWeightModule {
  protected override qforward(x: Tensor): Tensor {
    return x
  }
}

testOnDevices('every twin becomes the float layer of its codes', async (device) => {
  for (const weights of ['int8', 'int4'] as const) {
    const model = initialize(new Layers(), device, { seed: 3 })
    const printed = String(model)
    const before = new Map<string, Float32Array | Float64Array>()
    for (const [path, tensor] of model.namedTensors())
      if (tensor instanceof Tensor) before.set(path, await tensor.toNumbers())
    const layers = [Linear, Conv1d, Conv2d, ConvTranspose2d, Conv1D, LayerNorm, Embedding]
    assert.equal(quantize(model, { weights, activations: 'int8', layers }).length, 8)
    model.train()
    const steps = new Map<string, number>()
    for (const [path, module] of model.namedModules()) {
      if (!(module instanceof QWeightModule)) continue
      using quantized = module.quantizedWeight()
      using scale = quantized.scale()
      steps.set(`${path}.weight`, Math.max(...(await scale.toNumbers())))
    }
    freeze(model)
    assert.deepEqual(dequantize(model).sort(), [...names].sort())
    assert.equal(String(model), printed)
    for (const [path, tensor] of model.namedTensors()) {
      assert.ok(tensor instanceof Tensor, path)
      const [values, expected] = [await tensor.toNumbers(), before.get(path)]
      assert.ok(expected, path)
      // Half a step of rounding; what max cuts off below its range is less. Weights that lie the wrong way
      // round are whole weights off.
      const limit = (steps.get(path) ?? 0) * (0.5 + 4 * epsilon * 128)
      for (const [i, value] of values.entries())
        assert.ok(Math.abs(value - expected[i]) <= limit, `${path}[${i}] ${value}, was ${expected[i]}`)
    }
    assert.ok(model.linear.training)
    const random = new Random(1)
    for (const [name, shape] of Object.entries(model.inputs)) {
      const count = shape.reduce((product, size) => product * size, 1)
      const x = Tensor.fromNumbers(
        device,
        Float32Array.from({ length: count }, () => random.normal()),
        shape,
      )
      const layer = model.getModule(name) as Linear
      assert.ok((await layer.forward(x).toNumbers()).every(Number.isFinite), name)
    }
    model.dispose()
  }
})

testOnDevices('a twin that is not frozen gives its weight back; one of your own must say how', (device) => {
  const model = initialize(new Sequential(new Linear(8, 4), new Own(4, 4)), device)
  const weight = model.getParameter('0.weight')
  registerQuantizedModule(Own, {
    make: (layer, { weights, activations }) => weights && new QOwn(layer, weights, activations),
  })
  quantize(model, { weights: 'int8', exclude: '1' })
  assert.deepEqual(dequantize(model), ['0'])
  assert.equal(model.getParameter('0.weight'), weight)
  quantize(model, { weights: 'int8', include: '1' })
  assert.throws(() => dequantize(model), {
    message: 'dequantize: QOwn must say by floatLayer(weight) what layer it stands for',
  })
})
