import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Device } from '../../src/devices/device.ts'
import { accuracy } from '../../src/evaluate/accuracy.ts'
import { Dropout } from '../../src/nn/dropout.ts'
import { Module } from '../../src/nn/module.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

/** Gives its input: logits by hand. Its dropout would change them if it trained. */
class Same extends Module {
  dropout = new Dropout(0.5)
  forward(x: Tensor): Tensor {
    return this.dropout.forward(x)
  }
}

const batch = (device: Device, logits: number[][], labels: number[]) => ({
  x: Tensor.fromNumbers(device, logits.flat(), [logits.length, logits[0].length]),
  y: Tensor.fromArray(device, Int32Array.from(labels), [labels.length], 'int32'),
})

testOnDevices('right answers and the mean loss over batches of several sizes', async (device) => {
  const model = new Same().train()
  const batches = [
    // −log softmax of the right class: log 2 of two equal logits, log(1 + e⁻²) and log(1 + e²) of 0 and 2.
    batch(
      device,
      [
        [0, 0],
        [0, 2],
        [0, 2],
      ],
      [0, 1, 0],
    ),
    batch(device, [[-1000, 1000]], [1]),
  ]
  const { accuracy: share, loss, samples } = await accuracy(model, batches)
  assert.deepEqual([share, samples], [0.75, 4])
  const wanted = (Math.log(2) + Math.log1p(Math.exp(-2)) + Math.log1p(Math.exp(2)) + 0) / 4
  assert.ok(Math.abs(loss - wanted) < 1e-6, `${loss} ${wanted}`)
  assert.equal(model.training, true, 'as it was before')
})

testOnDevices('labels that are no class, no batches, and a model that stays as it was', async (device) => {
  const model = new Same().train()
  const two = [[0, 1]]
  await assert.rejects(accuracy(model, [batch(device, two, [2])]), {
    name: 'ShapeError',
    message: 'accuracy: labels must lie in 0..1; received 2 at 0',
  })
  await assert.rejects(accuracy(model, []), /there must be a sample; received none/)
  await assert.rejects(accuracy(model, [3 as never]), /every batch must be \{ x, y \}; received 3/)
  assert.equal(model.training, true)
})

test('what comes from an asynchronous source is waited for, one batch at a time', async () => {
  const { openDevice } = await import('../../src/devices/open.ts')
  const device = openDevice('cpu', { threads: 1 })
  let asked = 0
  async function* source() {
    for (; asked < 3; asked++) yield batch(device, [[1, 0]], [asked % 2])
  }
  assert.deepEqual((await accuracy(new Same(), source())).samples, 3)
  await device.close()
})
