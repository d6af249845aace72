import assert from 'node:assert/strict'
import { epsilon } from '../../src/kernels/inputs.ts'
import { backward } from '../../src/tensor/backward.ts'
import { fakeQuantize, mul, sum } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from './devices.ts'
import { compareWithGolden, goldenOp, goldenValues } from './goldenGradients.ts'

/** Codes are equal; scale · code is rounded once on both sides. Gradients of x are those of y or 0. */
const ulp = (values: ArrayLike<number>) => Float64Array.from(values, (value) => epsilon * Math.abs(value))

testOnDevices('fake quantization, one scale: PyTorch', async (device) => {
  const op = await goldenOp('fake_quant_per_tensor')
  const scale = Tensor.fromNumbers(device, [0.05], [])
  const zeroPoint = Tensor.fromArray(device, Int32Array.of(3), [])
  await compareWithGolden(
    device,
    op,
    ({ x }) => fakeQuantize(x, scale, { qmin: -8, qmax: 7, zeroPoint }),
    (key) => (key === 'out' ? ulp(goldenValues(op, 'out')) : 0),
  )
})

testOnDevices('fake quantization, a scale a row: PyTorch', async (device) => {
  const op = await goldenOp('fake_quant_per_channel')
  const scale = Tensor.fromNumbers(device, [0.1, 0.05, 0.2])
  await compareWithGolden(
    device,
    op,
    ({ x }) => fakeQuantize(x, scale, { qmin: -127, qmax: 127 }),
    (key) => (key === 'out' ? ulp(goldenValues(op, 'out')) : 0),
  )
})

testOnDevices('a learned scale: PyTorch', async (device) => {
  const op = await goldenOp('lsq_per_tensor')
  const [x, dy, [scale]] = ['in.x', 'grad_out', 'in.scale'].map((key) => goldenValues(op, key))
  // Terms dy · (rne(x / scale) − x / scale) within the range; x / scale and what PyTorch makes of it err by
  // an ulp or two of themselves.
  const terms = x.reduce((total, value, i) => total + Math.abs(dy[i]) * (Math.abs(value / scale) + 8), 0)
  await compareWithGolden(
    device,
    op,
    (inputs) => fakeQuantize(inputs.x, inputs.scale.view([]), { qmin: -8, qmax: 7 }),
    (key) => (key === 'out' ? ulp(goldenValues(op, 'out')) : key === 'grad.scale' ? 4 * epsilon * terms : 0),
  )
})

testOnDevices('gradients of the scales of two rows, by hand', async (device) => {
  // In units of their scales: 1.25 → 1, 3.5 → 4 beyond 3; −0.75 → −1, −8 → −4.
  const x = Tensor.fromNumbers(device, [0.625, 1.75, -0.1875, -2], [2, 2])
  const scale = Tensor.fromNumbers(device, [0.5, 0.25])
  const factors = Tensor.fromNumbers(device, [1, 10, 100, 1000], [2, 2])
  x.requiresGrad = true
  scale.requiresGrad = true
  const loss = backward(() =>
    sum(mul(fakeQuantize(x, scale, { qmin: -4, qmax: 3, gradFactor: 0.5 }), factors)),
  )
  assert.deepEqual([...(await loss.toNumbers())], [0.5 + 15 - 25 - 1000])
  assert.ok(x.grad && scale.grad)
  assert.deepEqual([...(await x.grad.toNumbers())], [1, 0, 100, 0])
  // Row 0: 1 · (1 − 1.25) + 10 · 3; row 1: 100 · (−1 + 0.75) + 1000 · −4; halved.
  assert.deepEqual([...(await scale.grad.toNumbers())], [29.75 / 2, -4025 / 2])
})

testOnDevices('bad arguments of fakeQuantize', (device) => {
  const x = Tensor.fromNumbers(device, [1, 2, 3, 4, 5, 6], [2, 3])
  const one = Tensor.fromNumbers(device, [1], [])
  assert.throws(() => fakeQuantize(x, Tensor.fromNumbers(device, [1, 1, 1]), { qmin: -8, qmax: 7 }), {
    name: 'ShapeError',
    message: 'fakeQuantize: scale must be [] or [rows of x]; received [3] for x [2,3]',
  })
  assert.throws(() => fakeQuantize(x, one, { qmin: 7, qmax: -8 }), {
    message: 'fakeQuantize: qmin must lie below qmax; received 7 and -8',
  })
})
