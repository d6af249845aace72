import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { inspect } from 'node:util'
import { qint4, qint8 } from '../../src/core/qtype.ts'
import type { Device } from '../../src/devices/device.ts'
import { openDevice } from '../../src/devices/open.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { QActivation } from '../../src/qtensor/activation.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { absmax, max } from '../../src/quantize/quantizers.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

/*
 * What `console.log` prints: a line, or the tree of a model; also of what is no more.
 */

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())

function printed(value: Device | Module | QTensor | Tensor, line: string, gone?: string): void {
  assert.equal(inspect(value), line)
  assert.equal(String(value), line)
  if (gone === undefined) return
  if ('dispose' in value) value.dispose()
  assert.equal(inspect({ value }, { breakLength: 200 }), `{ value: ${gone} }`)
}

test('a tensor', () => {
  printed(
    Tensor.full(device, [2, 3], 1),
    `Tensor float32 [2,3] on ${device.name}`,
    'Tensor float32 [2,3], disposed',
  )
  printed(Tensor.fromNumbers(device, [1], [], 'bfloat16'), `Tensor bfloat16 [] on ${device.name}`)
  printed(Tensor.meta([4], 'float16'), 'Tensor float16 [4] without memory', 'Tensor float16 [4], disposed')
})

test('a quantized weight: codes, scales and shifts in bits', () => {
  const weight = Tensor.full(device, [64, 128], 1)
  // 4 bits, and scale and shift of 32 bits each for 32 weights.
  printed(
    QTensor.quantize(weight, qint4, 32, max),
    `QTensor qint4 [64,128], groups of 32, 6 bits per weight on ${device.name}`,
    'QTensor qint4 [64,128], groups of 32, 6 bits per weight, disposed',
  )
  // 8 bits, and a scale of 32 for 128 weights.
  printed(
    QTensor.quantize(weight, qint8, null, absmax),
    `QTensor qint8 [64,128], one scale a row, 8.25 bits per weight on ${device.name}`,
  )
})

test('a quantized activation', () => {
  const y = QActivation.quantize(Tensor.full(device, [2, 3], 1), qint8, Tensor.full(device, [], 0.1))
  printed(y, `QActivation qint8 [2,3] on ${device.name}`, 'QActivation qint8 [2,3], disposed')
})

test('a model, its tree', () => {
  class Net extends Module {
    fc = new Linear(3, 2)
  }
  const tree = 'Net(\n  (fc): Linear(in_features=3, out_features=2, bias=True)\n)'
  printed(new Net(), tree)
  const net = initialize(new Net(), device)
  net.dispose()
  printed(net, tree)
})

test('a device', async () => {
  const other = openDevice('wasm', { threads: 1 })
  const tensor = Tensor.full(other, [2 ** 20], 1)
  printed(other, `Device ${other.name}, 1 thread, 4.2 MB allocated`)
  await other.close()
  printed(other, `Device ${other.name}, 1 thread, closed`)
  printed(tensor, `Tensor float32 [1048576] on ${other.name}`)
})
