import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Scalar } from '../../src/devices/commandList.ts'
import { openDevice } from '../../src/devices/open.ts'
import { add, mul, rope } from '../../src/tensor/ops/index.ts'
import { keep, scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'

for (const name of deviceNames) {
  describe(`kept command lists on ${name}`, () => {
    test('run again on new inputs, and reuse their own buffers', async () => {
      const device = openDevice(name, { threads: 2 })
      const x = Tensor.fromNumbers(device, [1, 2, 3])
      const before = device.allocatedBytes
      const { list, result } = device.capture(() =>
        scope(() => {
          let y = x
          for (let i = 0; i < 10; i++) y = scope(() => add(mul(y, y), x))
          return keep(y)
        }),
      )
      assert.equal(list.length, 20)
      assert.equal(device.allocatedBytes, before + 64, 'only the result lives')
      const expected = (v: number) => {
        let y = v
        for (let i = 0; i < 10; i++) y = Math.fround(Math.fround(y * y) + v)
        return y
      }
      for (const inputs of [
        [0.25, -0.5, 0.1],
        [0, 0.2, -1],
      ].map((row) => row.map(Math.fround))) {
        x.write(new Uint8Array(Float32Array.from(inputs).buffer))
        list.run()
        assert.deepEqual([...(await result.toNumbers())], inputs.map(expected))
      }
      // The list holds what it borrowed: the tensor may go first.
      x.dispose()
      list.run()
      assert.equal((await result.toNumbers()).length, 3)
      result.dispose()
      list.dispose()
      list.dispose()
      assert.equal(device.allocatedBytes, 0)
      await device.close()
    })

    test('take their scalars anew each time', async () => {
      const device = openDevice(name, { threads: 1 })
      const x = Tensor.fromNumbers(device, [1, 0], [1, 1, 1, 2])
      const table = (f: (p: number) => number) => Tensor.fromNumbers(device, [0, 1, 2, 3].map(f), [4, 1])
      const [cos, sin] = [table((p) => p), table((p) => 10 * p)]
      const position = new Scalar(0)
      const { list, result } = device.capture(() => rope(x, cos, sin, position))
      for (const p of [3, 0, 2]) {
        position.value = p
        list.run()
        // (x0, x1) → (x0·cos − x1·sin, x1·cos + x0·sin)
        assert.deepEqual([...(await result.toNumbers())], [p, 10 * p])
      }
      await device.close()
    })

    test('cannot hold bytes of the host', async () => {
      const device = openDevice(name, { threads: 1 })
      assert.throws(() => device.capture(() => Tensor.fromNumbers(device, [1])), {
        name: 'DeviceError',
        message: 'write: a kept list cannot hold bytes of the host',
      })
      assert.throws(() => device.capture(() => device.capture(() => 0)), { name: 'DeviceError' })
      await device.close()
    })
  })
}
