import assert from 'node:assert/strict'
import { epsilon } from '../../src/kernels/inputs.ts'
import { crossEntropyLoss, mseLoss, nllLoss } from '../../src/nn/losses.ts'
import { backward } from '../../src/tensor/backward.ts'
import { logSoftmax, softmax } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'
import { compareValues, compareWithGolden, goldenOp, goldenValues } from '../tensor/goldenGradients.ts'

/** Softmax and log-softmax, class by class, of x seen as [outer, classes, inner], in float64. */
function softmax64(x: ArrayLike<number>, outer: number, classes: number, inner: number): Float64Array {
  const p = new Float64Array(x.length)
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      const at = (c: number) => (o * classes + c) * inner + i
      let sum = 0
      for (let c = 0; c < classes; c++) sum += Math.exp(x[at(c)])
      for (let c = 0; c < classes; c++) p[at(c)] = Math.exp(x[at(c)]) / sum
    }
  return p
}

testOnDevices('softmax and log_softmax over an inner axis: PyTorch', async (device) => {
  for (const name of ['softmax', 'log_softmax']) {
    const op = await goldenOp(name)
    const [outer, classes, inner] = name === 'softmax' ? [4, 9, 1] : [3, 5, 2]
    const [x, dy] = [goldenValues(op, 'in.x'), goldenValues(op, 'grad_out')]
    const p = softmax64(x, outer, classes, inner)
    // Σ |dy| over the classes of each value: what the sum of the backward pass is made of.
    const total = Float64Array.from(x, (_, i) => {
      const [o, k] = [Math.floor(i / (classes * inner)), i % inner]
      let sum = 0
      for (let c = 0; c < classes; c++) sum += Math.abs(dy[(o * classes + c) * inner + k])
      return sum
    })
    const log = name === 'log_softmax'
    await compareWithGolden(
      device,
      op,
      ({ x }) => (log ? logSoftmax(x, 1) : softmax(x)),
      (key) =>
        Float64Array.from(x, (value, i) => {
          // Exponents err by half an ulp of x − max, which lies below 2·max|x| here; sums of up to 9 terms by
          // as many halves.
          const relative = 8 + Math.abs(value)
          if (key === 'out') return epsilon * (log ? relative + Math.abs(Math.log(p[i])) : relative * p[i])
          return (
            epsilon *
            relative *
            (log ? Math.abs(dy[i]) + p[i] * total[i] : p[i] * (Math.abs(dy[i]) + total[i]))
          )
        }),
    )
  }
})

testOnDevices('cross-entropy, with ignored targets and smoothed labels: PyTorch', async (device) => {
  for (const [name, options] of [
    ['cross_entropy', {}],
    ['cross_entropy_ignore_smooth', { labelSmoothing: 0.1 }],
  ] as const) {
    const op = await goldenOp(name)
    const loss = goldenValues(op, 'out')[0]
    // Each p − [c = target] is divided by the number of targets that count: at most (8ε + ε)·(1/n) off.
    const counted = goldenValues(op, 'in.target').filter((target) => target !== -100).length
    const bound = (key: string) => (key === 'out' ? 8 * epsilon * Math.abs(loss) : (9 * epsilon) / counted)
    await compareWithGolden(device, op, ({ x, target }) => crossEntropyLoss(x, target, options), bound)
    // The same from labels that are plain numbers, and by way of log-probabilities.
    await compareWithGolden(
      device,
      op,
      ({ x }) => crossEntropyLoss(x, goldenValues(op, 'in.target'), options),
      bound,
    )
    if (name === 'cross_entropy')
      await compareWithGolden(device, op, ({ x, target }) => nllLoss(logSoftmax(x), target), bound)
  }
})

testOnDevices('mean squared error: PyTorch', async (device) => {
  const op = await goldenOp('mse_loss')
  const [x, y] = [goldenValues(op, 'in.x'), goldenValues(op, 'in.y')]
  await compareWithGolden(
    device,
    op,
    (inputs) => mseLoss(inputs.x, inputs.y),
    (key) =>
      // Three roundings of a gradient, and in torch a sum of all squares.
      key === 'out'
        ? 8 * epsilon * Math.abs(goldenValues(op, 'out')[0])
        : Float64Array.from(x, (value, i) => (3 * epsilon * 2 * Math.abs(value - y[i])) / x.length),
  )
})

testOnDevices('classes in the second of four dimensions; sum and none', async (device) => {
  // Two classes of equal logits: each row loses ln 2.
  const x = Tensor.fromNumbers(device, new Float32Array(12), [1, 2, 2, 3])
  const target = Tensor.fromArray(device, Int32Array.of(0, 1, 0, -100, 1, 0), [1, 2, 3])
  const each = crossEntropyLoss(x, target, { reduction: 'none' })
  assert.deepEqual(each.shape, [1, 2, 3])
  const ln2 = Math.LN2
  compareValues('none', await each.toNumbers(), [ln2, ln2, ln2, 0, ln2, ln2], epsilon)
  const total = crossEntropyLoss(x, target, { reduction: 'sum' })
  compareValues('sum', await total.toNumbers(), [5 * ln2], 5 * epsilon)
  for (const tensor of [x, target, each, total]) tensor.dispose()
})

testOnDevices('labels out of range', async (device) => {
  const x = Tensor.fromNumbers(device, [1, 2, 3, 4, 5, 6], [2, 3])
  assert.throws(() => crossEntropyLoss(x, [0, 3]), {
    name: 'ShapeError',
    message: 'crossEntropyLoss: targets must lie in 0..2 or be -100; received 3 at 1',
  })
  assert.throws(() => crossEntropyLoss(x, [0]), { message: 'crossEntropyLoss: needs 2 targets; received 1' })
  assert.throws(() => nllLoss(x, [0.5, 1]), {
    message: 'nllLoss: targets must lie in 0..2 or be -100; received 0.5 at 0',
  })
  x.requiresGrad = true
  const target = Tensor.fromArray(device, Int32Array.of(0, 3))
  const loss = backward(() => crossEntropyLoss(x, target))
  assert.deepEqual([...(await loss.toNumbers())], [NaN])
  for (const tensor of [x, target, loss]) tensor.dispose()
  assert.equal(device.allocatedBytes, 0)
})
