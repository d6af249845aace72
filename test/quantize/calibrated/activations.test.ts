import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { quantizeCalibrated } from '../../../src/models/quantizeCalibrated.ts'
import { initialize } from '../../../src/nn/initialize.ts'
import { Linear } from '../../../src/nn/linear.ts'
import { Module } from '../../../src/nn/module.ts'
import { LayerNorm } from '../../../src/nn/normalization.ts'
import { calibrate } from '../../../src/quantize/calibrate.ts'
import { freeze, quantizationMap, quantize } from '../../../src/quantize/quantize.ts'
import { relu } from '../../../src/tensor/ops/index.ts'
import { scope } from '../../../src/tensor/scope.ts'
import { Tensor } from '../../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

class Block extends Module {
  norm = new LayerNorm(32)
  first = new Linear(32, 48)
  second = new Linear(48, 32)
  forward(x: Tensor): Tensor {
    return scope(() => this.second.forward(relu(this.first.forward(this.norm.forward(x)))))
  }
}
class Net extends Module {
  blocks = [new Block(), new Block()]
  forward(x: Tensor): Tensor {
    return scope(() => this.blocks.reduce((y, block) => block.forward(y), x))
  }
}

const net = () => initialize(new Net(), device, { seed: 1 })
const rows = (shift: number) =>
  Tensor.fromNumbers(
    device,
    Float32Array.from({ length: 20 * 32 }, (_, i) => Math.sin(i * i) + shift),
    [20, 32],
  )
const data = [rows(0), rows(0.3)]
const options = { weights: 'int8', activations: 'int8' } as const

test('activations are quantized by the samples that weights were solved from, as calibrate does it', async () => {
  const expected = net()
  quantize(expected, options)
  await calibrate(expected, () => {
    for (const x of data) scope(() => void expected.forward(x))
  })
  freeze(expected)
  const model = net()
  await quantizeCalibrated(model, { algorithm: { name: 'rounding', options }, data })
  assert.equal(String(model), String(expected))
  assert.deepEqual(quantizationMap(model), quantizationMap(expected))
  const x = rows(0.1)
  assert.deepEqual(
    await model.forward(x).dequantize().toNumbers(),
    await expected.forward(x).dequantize().toNumbers(),
  )
})

test('an abort while scales of activations are chosen leaves the model as it was', async () => {
  const model = net()
  const before = new Map(model.namedTensors())
  const text = String(model)
  const abort = new AbortController()
  const finish = async () => abort.abort(new Error('stopped'))
  await assert.rejects(
    quantizeCalibrated(model, {
      algorithm: { name: 'rounding', options, finish },
      data,
      signal: abort.signal,
    }),
    { message: 'stopped' },
  )
  assert.equal(String(model), text)
  assert.deepEqual(new Map(model.namedTensors()), before)
})
