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
import { absmax } from '../../src/quantize/quantizers.ts'
import { clamp, relu } from '../../src/tensor/ops/index.ts'
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
      return { x, bias, make: () => convolveIntegers(x, weight, bias, { padding }) as PendingConvolution }
    }

    test('are computed before what they are computed from is overwritten', async () => {
      const { x, bias, make } = layer()
      for (const overwritten of [x.codes, bias]) {
        const want = await make().readBytes()
        const [first, limited] = [make(), relu(make())]
        const wantLimited = await relu(make()).readBytes()
        overwritten.write(new Uint8Array(overwritten.byteLength))
        assert.deepEqual(await first.readBytes(), want)
        assert.deepEqual(await limited.readBytes(), wantLimited)
        assert.notDeepEqual(await make().readBytes(), want)
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

    test('give back what they were computed from with their floats, and those in the end', () => {
      const { x, make } = layer()
      make().dispose()
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
