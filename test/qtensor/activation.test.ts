import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { qfloat8, qint4, qint8 } from '../../src/core/qtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { crossEntropyLoss, klDivLoss, l1Loss, mseLoss, nllLoss } from '../../src/nn/losses.ts'
import { QActivation } from '../../src/qtensor/activation.ts'
import { registerQuantizedOp } from '../../src/qtensor/activationOps.ts'
import { backward } from '../../src/tensor/backward.ts'
import { op } from '../../src/tensor/op.ts'
import * as ops from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'

for (const name of deviceNames) {
  describe(`quantized activations on ${name}`, () => {
    const device = openDevice(name)
    after(() => device.close())
    const half = Tensor.fromNumbers(device, [0.5], [])

    /** [2, 3]: codes 2, -3, 3 (2.5 rounded half to even is 2), 127, -128 and 0 of scale 1/2. */
    const quantized = () =>
      QActivation.quantize(Tensor.fromNumbers(device, [1.25, -1.5, 1.75, 1e9, -70, 0.2], [2, 3]), qint8, half)
    const numbers = async (x: Tensor) => [...(await x.toNumbers())]

    test('codes are rounded half to even and cut off', async () => {
      const x = quantized()
      assert.deepEqual(await numbers(x.codes), [2, -3, 4, 127, -128, 0])
      assert.deepEqual(await numbers(x), [1, -1.5, 2, 63.5, -64, 0], 'what reads it gets floats')
      const float8 = QActivation.quantize(Tensor.fromNumbers(device, [0.53125, 300, -1e9]), qfloat8, half)
      // e4m3 has eight values from 1 to 2: 1.0625 lies halfway between 1 and 1.125 and goes to the even one.
      assert.deepEqual(await numbers(float8), [0.5, 224, -224])
      assert.throws(() => QActivation.quantize(x, qint4, half), {
        message: 'quantizeActivation: the type must be int8 or float8; received qint4',
      })
    })

    test('operations that move values, and simple ones, compute on the codes', async () => {
      const x = quantized()
      const kept = async (y: Tensor, codes: number[], values: number[]) => {
        assert.ok(y instanceof QActivation)
        assert.deepEqual(await numbers(y.codes), codes)
        assert.deepEqual(await numbers(y), values)
      }
      await kept(x.view([6]), [2, -3, 4, 127, -128, 0], [1, -1.5, 2, 63.5, -64, 0])
      await kept(ops.transpose(x, 0, 1), [2, 127, -3, -128, 4, 0], [1, 63.5, -1.5, -64, 2, 0])
      await kept(ops.slice(x, 1, 1, 2), [-3, -128], [-1.5, -64])
      await kept(x.rows(1, 2), [127, -128, 0], [63.5, -64, 0])
      await kept(ops.split(x, 1, 0)[0], [2, -3, 4], [1, -1.5, 2])
      await kept(
        ops.concat([x.rows(1, 2), x.rows(0, 1)], 1),
        [127, -128, 0, 2, -3, 4],
        [63.5, -64, 0, 1, -1.5, 2],
      )
      await kept(
        ops.stack([x, x]),
        [2, -3, 4, 127, -128, 0, 2, -3, 4, 127, -128, 0],
        [1, -1.5, 2, 63.5, -64, 0, 1, -1.5, 2, 63.5, -64, 0],
      )
      await kept(ops.relu(x), [2, 0, 4, 127, 0, 0], [1, 0, 2, 63.5, 0, 0])
      // The codes nearest to -1.1 and 2 are -2 and 4.
      await kept(ops.clamp(x, -1.1, 2), [2, -2, 4, 4, -2, 0], [1, -1, 2, 2, -1, 0])
      await kept(ops.neg(x), [-2, 3, -4, -127, 127, 0], [-1, 1.5, -2, -63.5, 63.5, 0])
      await kept(ops.mul(x, 4), [2, -3, 4, 127, -128, 0], [4, -6, 8, 254, -256, 0])
      await kept(ops.div(x, 4), [2, -3, 4, 127, -128, 0], [0.25, -0.375, 0.5, 15.875, -16, 0])
      const third = ops.div(x, 3)
      assert.ok(third instanceof QActivation)
      assert.deepEqual(
        await numbers(third.scale),
        [Math.fround(0.5 / 3)],
        'divided, not multiplied by a rounded third',
      )
      await kept(x.clone(), [2, -3, 4, 127, -128, 0], [1, -1.5, 2, 63.5, -64, 0])
    })

    test('where quantizes again, by the scale of the first', async () => {
      const x = quantized()
      const mask = Tensor.fromArray(device, Uint8Array.of(1, 0, 1, 0, 1, 0), [2, 3], 'bool')
      const y = ops.where(mask, x, -1000)
      assert.ok(y instanceof QActivation)
      assert.deepEqual(await numbers(y.codes), [2, -128, 4, -128, -128, -128])
      const z = ops.where(mask, x, Tensor.fromNumbers(device, [0, 0.75, 0, -3.3, 0, 8], [2, 3]))
      assert.deepEqual(
        await numbers(z),
        [1, 1, 2, -3.5, -64, 8],
        '0.75 is 1.5 steps, which is 2; -3.3 is -6.6',
      )
      assert.ok(!(ops.where(mask, x, x) instanceof QActivation))
      assert.ok(!(ops.where(mask, 0, x) instanceof QActivation))
    })

    test('gradients of where and of division by a number', async () => {
      const x = Tensor.fromNumbers(device, [1.25, -1.5, 1.75, 0.2], [2, 2])
      x.requiresGrad = true
      const mask = Tensor.fromArray(device, Uint8Array.of(1, 0, 0, 1), [2, 2], 'bool')
      const weights = Tensor.fromNumbers(device, [1, 2, 3, 4], [2, 2])
      const loss = backward(() =>
        ops.sum(ops.mul(ops.div(ops.where(mask, QActivation.quantize(x, qint8, half), 2), 4), weights)),
      )
      // Floats 1, 2, 2, 0 through a quarter and the weights.
      assert.deepEqual(await numbers(loss), [(1 + 4 + 6) / 4])
      assert.ok(x.grad)
      assert.deepEqual(await numbers(x.grad), [0.25, 0, 0, 1])
    })

    test('losses take quantized activations', async () => {
      const x = Tensor.fromNumbers(device, [1.25, -1.5, 1.75, 0.2, 3, -7], [2, 3])
      const floats = Tensor.fromNumbers(device, [1, -1.5, 2, 0, 3, -7], [2, 3])
      const target = Tensor.fromNumbers(device, [0.5, 0.25, 0.25, 0.125, 0.125, 0.75], [2, 3])
      const losses = {
        crossEntropy: (y: Tensor) => crossEntropyLoss(y, [2, 0], { labelSmoothing: 0.1 }),
        nll: (y: Tensor) => nllLoss(y, [2, 0]),
        mse: (y: Tensor) => mseLoss(y, target),
        l1: (y: Tensor) => l1Loss(y, target),
        klDiv: (y: Tensor) => klDivLoss(y, target, { reduction: 'batchmean' }),
      }
      for (const [name, loss] of Object.entries(losses)) {
        for (const leaf of [x, floats]) leaf.requiresGrad = true
        const ours = backward(() => loss(QActivation.quantize(x, qint8, half)))
        const expected = backward(() => loss(floats))
        assert.deepEqual(await numbers(ours), await numbers(expected), name)
        assert.ok(x.grad && floats.grad)
        assert.deepEqual(await numbers(x.grad), await numbers(floats.grad), `gradient of ${name}`)
        for (const leaf of [x, floats]) leaf.grad = null
      }
      const y = QActivation.quantize(x, qint8, half)
      assert.deepEqual(await numbers(mseLoss(floats, y)), [0], 'as targets, too')
    })

    test('other operations get floats', async () => {
      const x = quantized()
      const use = { keptBy: new Set<string>(), dequantized: 0, taken: false }
      x.use = use
      assert.deepEqual(await numbers(ops.add(x, x)), [2, -3, 4, 127, -128, 0])
      assert.equal(use.dequantized, 1, 'once')
      assert.ok(!(ops.mul(x, -1) instanceof QActivation), 'a scale is positive')
      const other = QActivation.quantize(Tensor.fromNumbers(device, [1, 2, 3], [1, 3]), qint8, half.clone())
      assert.ok(!(ops.concat([x, other]) instanceof QActivation), 'scales of different origin')
      const float8 = QActivation.quantize(Tensor.fromNumbers(device, [-1]), qfloat8, half)
      assert.ok(!(ops.relu(float8) instanceof QActivation))
      x.view([6])
      assert.deepEqual([...use.keptBy], ['view'])
    })

    test('a batched product runs on the codes', async () => {
      const a = QActivation.quantize(Tensor.fromNumbers(device, [1, 2, 3, 4], [1, 2, 2]), qint8, half)
      const b = QActivation.quantize(
        Tensor.fromNumbers(device, [5, 6, 7, 8], [1, 2, 2]),
        qint8,
        Tensor.fromNumbers(device, [0.25], []),
      )
      assert.deepEqual(await numbers(ops.matmul(a, b)), [19, 22, 43, 50])
    })

    test('a softmax is quantized again, by 1/127', async () => {
      const y = ops.softmax(
        QActivation.quantize(Tensor.fromNumbers(device, [0, 0, 0, 0], [1, 4]), qint8, half),
      )
      assert.ok(y instanceof QActivation)
      assert.deepEqual(await numbers(y.codes), [32, 32, 32, 32], '127 / 4 = 31.75')
    })

    test('a registered operation is asked first', () => {
      const half = op('half(x)', (x: Tensor) => ops.mul(x, -0.5))
      assert.ok(!(half(quantized()) instanceof QActivation))
      registerQuantizedOp(half, (x) => (x instanceof QActivation ? x.withCodes(x.codes.detach()) : undefined))
      assert.ok(half(quantized()) instanceof QActivation)
      assert.ok(!(half(Tensor.fromNumbers(device, [1])) instanceof QActivation))
    })

    test('gradients pass through the rounding, and through what computes on codes', async () => {
      const x = Tensor.fromNumbers(device, [1.25, -1.5, 1.75, 0.2], [2, 2])
      x.requiresGrad = true
      const weights = Tensor.fromNumbers(device, [1, 2, 3, 4], [2, 2])
      const loss = backward(() => {
        const y = ops.mul(ops.relu(ops.transpose(QActivation.quantize(x, qint8, half), 0, 1)), 4)
        return ops.sum(ops.mul(y, weights))
      })
      // Floats 1, 2 / -1.5, 0 once transposed; times 4 and the weights: 4 + 16.
      assert.deepEqual(await numbers(loss), [20])
      assert.ok(x.grad)
      assert.deepEqual(await numbers(x.grad), [4, 0, 8, 0])
    })

    test('memory is given back', () => {
      const before = device.allocatedBytes
      const x = Tensor.fromNumbers(device, [1, 2])
      const y = QActivation.quantize(x, qint8, half)
      y.dequantize().dispose()
      y.view([2, 1]).dispose()
      for (const tensor of [x, y]) tensor.dispose()
      assert.equal(device.allocatedBytes, before)
    })
  })
}
