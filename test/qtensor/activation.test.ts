import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { qfloat8, qint4, qint8 } from '../../src/core/qtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { QActivation } from '../../src/qtensor/activation.ts'
import { registerQuantizedOp } from '../../src/qtensor/activationOps.ts'
import { backward } from '../../src/tensor/backward.ts'
import * as ops from '../../src/tensor/ops/index.ts'
import { overridden } from '../../src/tensor/override.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

for (const name of ['native', 'wasm'] as const) {
  describe(`quantized activations on ${name}`, () => {
    const device = openDevice(name)
    after(() => device.close())
    const half = Tensor.fromNumbers(device, [0.5], [])

    /** [2, 3]: codes 2, -3, 3 (2.5 rounded half to even is 2), 127, -128 and 0 of scale 1/2. */
    const quantized = () => QActivation.quantize(Tensor.fromNumbers(device, [1.25, -1.5, 1.75, 1e9, -70, 0.2], [2, 3]), qint8, half)
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
      await kept(ops.concat([x.rows(1, 2), x.rows(0, 1)], 1), [127, -128, 0, 2, -3, 4], [63.5, -64, 0, 1, -1.5, 2])
      await kept(ops.stack([x, x]), [2, -3, 4, 127, -128, 0, 2, -3, 4, 127, -128, 0], [1, -1.5, 2, 63.5, -64, 0, 1, -1.5, 2, 63.5, -64, 0])
      await kept(ops.relu(x), [2, 0, 4, 127, 0, 0], [1, 0, 2, 63.5, 0, 0])
      await kept(ops.neg(x), [-2, 3, -4, -127, 127, 0], [-1, 1.5, -2, -63.5, 63.5, 0])
      await kept(ops.mulScalar(x, 4), [2, -3, 4, 127, -128, 0], [4, -6, 8, 254, -256, 0])
      await kept(x.clone(), [2, -3, 4, 127, -128, 0], [1, -1.5, 2, 63.5, -64, 0])
    })

    test('other operations get floats', async () => {
      const x = quantized()
      const use = { keptBy: new Set<string>(), dequantized: 0, taken: false }
      x.use = use
      assert.deepEqual(await numbers(ops.add(x, x)), [2, -3, 4, 127, -128, 0])
      assert.equal(use.dequantized, 1, 'once')
      assert.ok(!(ops.mulScalar(x, -1) instanceof QActivation), 'a scale is positive')
      const other = QActivation.quantize(Tensor.fromNumbers(device, [1, 2, 3], [1, 3]), qint8, half.clone())
      assert.ok(!(ops.concat([x, other]) instanceof QActivation), 'scales of different origin')
      const float8 = QActivation.quantize(Tensor.fromNumbers(device, [-1]), qfloat8, half)
      assert.ok(!(ops.relu(float8) instanceof QActivation))
      x.view([6])
      assert.deepEqual([...use.keptBy], ['view'])
    })

    test('a batched product runs on the codes', async () => {
      const a = QActivation.quantize(Tensor.fromNumbers(device, [1, 2, 3, 4], [1, 2, 2]), qint8, half)
      const b = QActivation.quantize(Tensor.fromNumbers(device, [5, 6, 7, 8], [1, 2, 2]), qint8, Tensor.fromNumbers(device, [0.25], []))
      assert.deepEqual(await numbers(ops.bmm(a, b)), [19, 22, 43, 50])
    })

    test('a softmax is quantized again, by 1/127', async () => {
      const y = ops.softmax(QActivation.quantize(Tensor.fromNumbers(device, [0, 0, 0, 0], [1, 4]), qint8, half))
      assert.ok(y instanceof QActivation)
      assert.deepEqual(await numbers(y.codes), [32, 32, 32, 32], '127 / 4 = 31.75')
    })

    test('a registered operation is asked first', () => {
      registerQuantizedOp('thirds', (x: QActivation) => x.withCodes(x.codes.detach()))
      assert.ok(overridden('thirds', quantized()) instanceof QActivation)
      assert.equal(overridden('fourths', quantized()), undefined)
    })

    test('gradients pass through the rounding, and through what computes on codes', async () => {
      const x = Tensor.fromNumbers(device, [1.25, -1.5, 1.75, 0.2], [2, 2])
      x.requiresGrad = true
      const weights = Tensor.fromNumbers(device, [1, 2, 3, 4], [2, 2])
      const loss = backward(() => {
        const y = ops.mulScalar(ops.relu(ops.transpose(QActivation.quantize(x, qint8, half), 0, 1)), 4)
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
