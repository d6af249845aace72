import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { DeviceError, ShapeError } from '../../src/core/errors.ts'
import { qint8 } from '../../src/core/qtype.ts'
import { Random } from '../../src/core/random.ts'
import { openDevice } from '../../src/devices/open.ts'
import { normals } from '../../src/kernels/inputs.ts'
import { QActivation } from '../../src/qtensor/activation.ts'
import { convolveIntegers, type PendingConvolution } from '../../src/qtensor/convolution.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { encodeRows } from '../../src/qtensor/rows.ts'
import { absmax } from '../../src/quantize/quantizers.ts'
import { backward } from '../../src/tensor/backward.ts'
import { add, clamp, relu, sum } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { kernelsOf } from '../kernelsOf.ts'

for (const name of deviceNames) {
  describe(`convolutions of codes that are still to be computed, on ${name}`, () => {
    const device = openDevice(name)
    after(() => device.close())
    const random = new Random(1)
    const values = (shape: number[]) =>
      Tensor.fromArray(
        device,
        normals(
          random,
          shape.reduce((a, b) => a * b),
        ),
        shape,
      )
    const scalar = (value: number) => Tensor.fromNumbers(device, [value], [])

    /** A convolution of 12 channels to 8, 7 × 9 pixels of two images. */
    function layer(kernel = 1) {
      const x = QActivation.quantize(values([2, 12, 7, 9]), qint8, scalar(0.02))
      const rows = QTensor.quantize(values([8, 12 * kernel * kernel]), qint8, null, absmax)
      const weight = QTensor.fromParts({ ...rows.parts(), shape: [8, 12, kernel, kernel] })
      const bias = values([8])
      const padding = (kernel - 1) / 2
      const make = () => convolveIntegers(x, weight, bias, { padding }) as PendingConvolution
      // The weight is laid out at the first call.
      make().dispose()
      return { x, bias, make }
    }

    test('are computed before what they are computed from is overwritten', async () => {
      const { x, bias, make } = layer()
      const addend = values([2, 8, 7, 9])
      for (const overwritten of [x.codes, bias, addend]) {
        const all = () => [make(), relu(make()), add(addend, make())]
        const want = await Promise.all(all().map((y) => y.readBytes()))
        const pending = all()
        overwritten.write(new Uint8Array(overwritten.byteLength))
        for (const [i, y] of pending.entries()) assert.deepEqual(await y.readBytes(), want[i])
        assert.notDeepEqual(await all()[2].readBytes(), want[2])
      }
    })

    test('have the same codes before and behind their floats', async () => {
      const { make } = layer(3)
      const scale = scalar(0.5)
      const make6 = () => clamp(make().view([2, 8, 63]), 0, 6)
      let codes = make6() as QActivation
      const ran = kernelsOf(device, () => {
        codes = QActivation.quantize(make6(), qint8, scale)
      })
      assert.deepEqual(ran, ['conv2dInt8'])
      const behind = QActivation.quantize(make6().computed(), qint8, scale)
      assert.deepEqual(await codes.codes.readBytes(), await behind.codes.readBytes())
      assert.deepEqual(codes.shape, [2, 8, 63])
      assert.throws(() => make().view([2, 8, 62]), ShapeError)
      assert.deepEqual(make().view([-1, 63]).shape, [16, 63])
    })

    /** The sum as three kernels compute it, one behind the other, and its codes. */
    function apart(y: Tensor, addend: Tensor, low: number, scale: Tensor) {
      const floats = clamp(add(y.clone(), addend), low, Infinity)
      return { floats, codes: encodeRows(floats, { scale }, qint8, { reciprocal: true }) }
    }

    test('give floats and codes of a residual block in one pass, bit for bit as kernels apart', async () => {
      const scale = scalar(0.06)
      for (const kernel of [1, 3])
        for (const low of [-Infinity, 0])
          for (const swapped of [false, true]) {
            const { make } = layer(kernel)
            const addend = values([2, 8, 7, 9])
            const want = apart(make(), addend, low, scale)
            let sum = addend
            let quantized = make() as Tensor
            const ran = kernelsOf(device, () => {
              const plain = swapped ? add(make(), addend) : add(addend, make())
              sum = low === 0 ? relu(plain) : plain
              quantized = QActivation.quantize(sum, qint8, scale)
              void sum.storage
            })
            assert.deepEqual(ran, ['conv2dInt8'])
            assert.deepEqual(await sum.readBytes(), await want.floats.readBytes())
            assert.deepEqual(await (quantized as QActivation).codes.readBytes(), await want.codes.readBytes())
          }
    })

    test('give what is asked for, where it is known how many use them', async () => {
      const { make } = layer()
      const scale = scalar(0.06)
      const addend = values([2, 8, 7, 9])
      const bytes = (users: number, y: Tensor) => {
        y.usedBy(users)
        const before = device.allocatedBytes
        QActivation.quantize(y, qint8, scale)
        return device.allocatedBytes - before
      }
      const codes = bytes(1, make())
      assert.equal(bytes(1, add(addend, make())), codes)
      assert.ok(bytes(2, make()) > codes)
      const several = make()
      several.usedBy(2)
      assert.deepEqual(
        kernelsOf(device, () => void relu(several)),
        ['conv2dInt8', 'unary'],
      )
      assert.deepEqual(await several.readBytes(), await make().readBytes())
    })

    test('take one addend of their shape, before values are limited', async () => {
      const { make } = layer()
      const other = layer()
      const row = values([9])
      const addend = values([2, 8, 7, 9])
      const sums: [take: () => Tensor, plain: () => Tensor, kernels: string[]][] = [
        [() => add(relu(make()), addend), () => add(relu(make()).clone(), addend), ['conv2dInt8', 'binary']],
        [() => add(make(), row), () => add(make().clone(), row), ['conv2dInt8', 'binary']],
        [
          () => add(add(make(), addend), addend),
          () => add(add(make().clone(), addend), addend),
          ['conv2dInt8', 'binary'],
        ],
        [
          () => add(make(), other.make()),
          () => add(make().clone(), other.make().clone()),
          ['conv2dInt8', 'conv2dInt8'],
        ],
      ]
      for (const [take, plain, kernels] of sums) {
        let y = row
        assert.deepEqual(
          kernelsOf(device, () => {
            y = take().computed()
          }),
          kernels,
        )
        assert.deepEqual(await y.readBytes(), await plain().readBytes())
      }
      const twice = make()
      assert.deepEqual(await add(twice, twice).readBytes(), await add(make().clone(), make()).readBytes())
      const parameter = values([2, 8, 7, 9])
      parameter.requiresGrad = true
      backward(() => sum(add(parameter, make())))
      assert.deepEqual([...new Set(await (parameter.grad as Tensor).toNumbers())], [1])
    })

    test('give back what they were computed from with their floats, and those in the end', () => {
      const { x, make } = layer()
      const before = device.allocatedBytes
      scope(() => void make())
      scope(() => void relu(make()).computed())
      scope(() => void QActivation.quantize(make(), qint8, scalar(1)))
      assert.equal(device.allocatedBytes, before)
      const y = make()
      x.dispose()
      assert.equal(device.allocatedBytes, before)
      const { capacityBytes } = y.storage
      const withFloats = device.allocatedBytes
      y.dispose()
      assert.equal(device.allocatedBytes, withFloats - capacityBytes)
      assert.ok(device.allocatedBytes < before)
      assert.throws(() => y.storage, DeviceError)
      assert.throws(() => relu(y), DeviceError)
    })
  })
}
