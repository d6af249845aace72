import assert from 'node:assert/strict'
import { relativeError, weightErrors } from '../../src/evaluate/weightError.ts'
import { Conv1D } from '../../src/nn/gptConv1D.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

const near = (received: number | undefined, wanted: number) =>
  assert.ok(Math.abs(Number(received) - wanted) < 1e-6, `${received} must be ${wanted}`)

testOnDevices('the distance over the norm, by hand', async (device) => {
  const w = Tensor.fromNumbers(device, [3, 4, 0, 0], [2, 2])
  near(await relativeError(w, Tensor.fromNumbers(device, [3, 4, 0, 1], [2, 2])), 1 / 5)
  near(await relativeError(w, Tensor.fromNumbers(device, [0, 0, 0, 0], [2, 2])), 1)
  near(await relativeError(w, w), 0)
  // Nothing to be far from.
  near(await relativeError(Tensor.fromNumbers(device, [0, 0]), Tensor.fromNumbers(device, [1, 2])), 0)
  await assert.rejects(relativeError(w, Tensor.fromNumbers(device, [1, 2])), { name: 'ShapeError' })
})

testOnDevices('of each layer, before and when it is frozen', async (device) => {
  // int8 of a row with the largest value 127: the scale is 1, so that 0.25 is lost, and 0.5 of it again.
  const rows = [127, 0.25, 2, -3]
  const turned = [127, 1, 0.25, 0.5]
  const linear = Object.assign(new Linear(4, 1, { bias: false }), {
    weight: Tensor.fromNumbers(device, rows, [1, 4]),
  })
  const conv1D = Object.assign(new Conv1D(2, 2), {
    // [in, out]: the outputs are 127, 0.25 and 1, 0.5; the second's scale is 1 / 127.
    weight: Tensor.fromNumbers(device, turned, [2, 2]),
    bias: Tensor.fromNumbers(device, [0, 0]),
  })
  const model = new Sequential(linear, conv1D)
  quantize(model, { weights: 'int8' })
  const seen: number[] = []
  const errors = await weightErrors(model, { onProgress: (done) => void seen.push(done) })
  assert.deepEqual([...errors.keys()], ['0', '1'])
  near(errors.get('0'), 0.25 / Math.hypot(...rows))
  // 0.5 is 63.5 of 1 / 127, which rounds to 64.
  near(errors.get('1'), Math.hypot(0.25, 0.5 / 127) / Math.hypot(...turned))
  assert.deepEqual(seen, [1, 2])
  freeze(model)
  assert.equal((await weightErrors(model)).size, 0, 'the floats are gone')
})
