import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { Random } from '../../src/core/random.ts'
import { openDevice } from '../../src/devices/open.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { Statistics } from '../../src/qtensor/quantizer.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { ggufCodes, ggufQuantizer } from '../../src/quantize/ggufQuantizers.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

import { deviceNames } from '../deviceNames.ts'

const device = openDevice(deviceNames[0], { threads: 2 })
after(() => device.close())

class Net extends Module {
  fc = new Linear(256, 4, { bias: false })
  forward(x: Tensor): Tensor {
    return this.fc.forward(x)
  }
}

test('importance is the mean square of what a column multiplies, over all batches', async () => {
  const random = new Random(5)
  const batches = [3, 1, 2].map((rows) =>
    Float32Array.from({ length: rows * 256 }, () => random.normal() ** 3),
  )
  const net = initialize(new Net(), device)
  const float = net.fc.weight.clone()
  const quantizer = ggufQuantizer('Q4_K', { importance: true })
  quantize(net, { weights: ggufCodes('Q4_K'), groupSize: 32, algorithm: quantizer })
  await calibrate(net, () => {
    for (const batch of batches) {
      using x = Tensor.fromArray(device, batch, [batch.length / 256, 256])
      net.forward(x).dispose()
    }
  })
  freeze(net)

  const squares = new Float32Array(256)
  for (const batch of batches) for (const [i, value] of batch.entries()) squares[i % 256] += value * value
  const statistics = new Statistics()
  statistics.set('squares', Tensor.fromArray(device, squares))
  statistics.set('rows', Tensor.full(device, [1], 6))
  const expected = QTensor.quantize(float, ggufCodes('Q4_K'), 32, quantizer, statistics)
  const plain = QTensor.quantize(float, ggufCodes('Q4_K'), 32, ggufQuantizer('Q4_K'))
  const values = (weight: { dequantize(): Tensor }) => weight.dequantize().toNumbers()
  const frozen = await values(net.fc.weight as unknown as QTensor)
  assert.deepEqual(frozen, await values(expected))
  assert.notDeepEqual(frozen, await values(plain))
})

test('a type takes codes of its own, and rows of whole blocks', () => {
  const weight = Tensor.full(device, [2, 40], 1)
  const quantized = (type: 'Q4_0' | 'Q4_K', codes: 'Q4_0' | 'Q8_0') => () =>
    QTensor.quantize(weight, ggufCodes(codes), null, ggufQuantizer(type))
  assert.throws(quantized('Q4_0', 'Q8_0'), { message: 'Q4_0: the type must be qint4; received qint8' })
  const message = 'Q5_0: the weight must be [N,K], K a multiple of 32; received [2,40]'
  assert.throws(quantized('Q4_K', 'Q4_0'), { name: 'ShapeError', message })
})
