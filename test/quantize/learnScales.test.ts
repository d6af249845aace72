import assert from 'node:assert/strict'
import { stateDict } from '../../src/checkpoints/stateDict.ts'
import { Random } from '../../src/core/random.ts'
import type { Device } from '../../src/devices/device.ts'
import { epsilon } from '../../src/kernels/inputs.ts'
import { Linear } from '../../src/nn/linear.ts'
import { mseLoss } from '../../src/nn/losses.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { learnScales } from '../../src/quantize/learnScales.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { backward } from '../../src/tensor/backward.ts'
import { mul, sum } from '../../src/tensor/ops/index.ts'
import { keep, scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

/** A layer whose weight is a diagonal of 127/128: int8 holds it exactly, by code 127 and scale 2⁻⁷. */
function diagonal(device: Device, size: number): Sequential {
  const layer = new Linear(size, size, { bias: false })
  const weight = Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 127 / 128 : 0))
  layer.weight = Tensor.fromArray(device, weight, [size, size])
  const model = new Sequential(layer)
  quantize(model, { weights: 'int8', activations: 'int8' })
  return model
}

function twin(model: Sequential): QLinear {
  const layer = model.getModule('0')
  assert.ok(layer instanceof QLinear)
  return layer
}

testOnDevices('gradients of the scales of inputs and outputs, by hand', async (device) => {
  const model = diagonal(device, 2)
  const layer = twin(model)
  layer.input_scale = Tensor.fromNumbers(device, [0.5], [])
  layer.output_scale = Tensor.fromNumbers(device, [0.0625], [])
  assert.equal(learnScales(model).length, 2)
  const x = Tensor.fromNumbers(device, [1.125, 70], [1, 2])
  x.requiresGrad = true
  const factors = Tensor.fromNumbers(device, [1, 10], [1, 2])
  const loss = backward(() => sum(mul(model.forward(x), factors)))
  // x / 0.5 = 2.25 → 2, and 140 → 127: floats 1 and 63.5; times 127/128: 0.9921875 and 63.00390625;
  // by 0.0625: 15.875 → 16, and 1008.0625 → 127: floats 1 and 7.9375.
  assert.deepEqual([...(await loss.toNumbers())], [1 + 79.375])
  assert.ok(layer.input_scale.grad && layer.output_scale.grad && x.grad)
  const close = async (tensor: Tensor, expected: number) => {
    const [value] = await tensor.toNumbers()
    assert.ok(Math.abs(value - expected) <= 4 * epsilon * Math.abs(expected), `${value}, by hand ${expected}`)
  }
  const lsq = 1 / Math.sqrt(2 * 127)
  await close(layer.output_scale.grad, (1 * (16 - 15.875) + 10 * 127) * lsq)
  // The second output was cut off, and passes nothing on.
  await close(layer.input_scale.grad, (127 / 128) * (2 - 2.25) * lsq)
  assert.deepEqual([...(await x.grad.toNumbers())], [127 / 128, 0])
})

testOnDevices('a learned scale comes as near as the best one', async (device) => {
  const random = new Random(5)
  // A few large values, which cost less cut off than what holding them costs the others.
  const values = Float32Array.from({ length: 4096 }, (_, i) => random.normal() * (i % 2048 === 7 ? 300 : 1))
  const x = Tensor.fromArray(device, values, [64, 64])
  const target = keep(
    Tensor.fromArray(
      device,
      values.map((value) => (Math.abs(value) > 8 ? 0 : (value * 127) / 128)),
      [64, 64],
    ),
  )
  const kept = keep(
    Tensor.fromArray(
      device,
      values.map((value) => (Math.abs(value) > 8 ? 0 : 1)),
      [64, 64],
    ),
  )
  const model = diagonal(device, 64)
  await calibrate(model, () => void model.forward(x))
  const layer = twin(model)
  layer.outputQuantized = false
  const lossOf = () => mseLoss(mul(model.forward(x), kept), target)
  const measured = async () => (await scope(() => keep(lossOf())).toNumbers())[0]
  const before = await measured()
  const calibrated = layer.input_scale
  assert.ok(calibrated)
  // What any fixed scale reaches.
  let best = Infinity
  for (let scale = 0.01; scale < 0.2; scale *= 1.1) {
    layer.input_scale = Tensor.fromNumbers(device, [scale], [])
    best = Math.min(best, await measured())
  }
  layer.input_scale = calibrated
  const optimizer = new Adam(learnScales(model), { lr: 0.02 })
  let bytes = 0
  for (let step = 0; step < 300; step++) {
    backward(lossOf).dispose()
    optimizer.step()
    optimizer.zeroGrad()
    if (step === 0) bytes = device.allocatedBytes
    assert.equal(device.allocatedBytes, bytes, 'nothing is held from step to step')
  }
  const after = await measured()
  assert.ok(before > 20 * best, `calibrated ${before}, best ${best}`)
  assert.ok(after < 1.5 * best, `learned ${after}, best ${best}`)
})

testOnDevices('scales are parameters while they are learned, and are saved as ever', async (device) => {
  const model = diagonal(device, 2)
  assert.throws(() => learnScales(model), {
    message: 'learnScales: the model must have calibrated activations; calibrate(model, run) first',
  })
  const x = Tensor.fromNumbers(device, [1, 127], [1, 2])
  const run = () => void model.forward(x)
  await calibrate(model, run, { streamline: false })
  assert.equal(model.parameters().size, 1)
  learnScales(model)
  assert.deepEqual([...model.namedParameters()].map(([name]) => name).sort(), [
    '0.input_scale',
    '0.output_scale',
    '0.weight',
  ])
  const saved = await stateDict(model)
  assert.deepEqual([...saved.keys()].sort(), ['0.input_scale', '0.output_scale', '0.weight'])
  freeze(model)
  const names = [...(await stateDict(model)).keys()].sort()
  assert.deepEqual(names, ['0.input_scale', '0.output_scale', '0.weight._data', '0.weight._scale'])
  learnScales(model, false)
  assert.equal(model.parameters().size, 1)
  const float8 = new Sequential(new Linear(2, 2))
  quantize(float8, { weights: 'int8', activations: 'qfloat8' })
  assert.throws(() => learnScales(float8), {
    message: 'learnScales: activations must be int8; 0 has qfloat8_e4m3fn',
  })
})
