import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import type { SignalStop } from '../../src/devices/stops.ts'
import { add, matmul } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'

test('where the host shares no memory with the queue nothing can be stopped', async () => {
  const device = openDevice('wasm', { threads: 1 })
  assert.equal(device.stopOn(new AbortController().signal), null)
  await device.close()
})

for (const name of deviceNames) {
  describe(`stops on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    const stopOn = (signal: AbortSignal): SignalStop => {
      const stop = device.stopOn(signal)
      assert.ok(stop)
      return stop
    }

    test('calls are left out once the signal aborted, and others are not', async () => {
      using x = Tensor.fromNumbers(device, [1, 2])
      const [left, right] = [new AbortController(), new AbortController()]
      using one = stopOn(left.signal)
      using other = stopOn(right.signal)
      const { list, result } = device.capture(() => scope(() => add(x, x)))
      list.run()
      assert.deepEqual([...(await result.toNumbers())], [2, 4])
      x.write(new Uint8Array(Float32Array.of(5, 6).buffer))
      left.abort()
      device.stoppable(one, () => list.run())
      assert.deepEqual([...(await result.toNumbers())], [2, 4], 'a kept list that was stopped')
      device.stoppable(other, () => list.run())
      assert.deepEqual([...(await result.toNumbers())], [10, 12], 'another signal')
      x.write(new Uint8Array(Float32Array.of(7, 8).buffer))
      list.run()
      assert.deepEqual([...(await result.toNumbers())], [14, 16], 'no stop')
      result.dispose()
      list.dispose()
    })

    test('each of 64 at once has its own flag, and a flag that was raised serves the next', async () => {
      using x = Tensor.fromNumbers(device, [1])
      const abort = new AbortController()
      const taken = Array.from({ length: 64 }, () => stopOn(abort.signal))
      assert.equal(device.stopOn(abort.signal), null)
      abort.abort()
      for (const stop of taken) stop[Symbol.dispose]()
      for (let i = 0; i < 64; i++) {
        using stop = stopOn(new AbortController().signal)
        using y = device.stoppable(stop, () => add(x, i))
        assert.deepEqual([...(await y.toNumbers())], [1 + i])
      }
    })

    test('a kernel that runs ends early', async (t) => {
      const size = 2048
      const values = new Float32Array(size * size).fill(1)
      using x = Tensor.fromArray(device, values, [size, size])
      const timed = async (work: () => Promise<void>) => {
        const started = performance.now()
        await work()
        return performance.now() - started
      }
      const multiply = async (stop: SignalStop) => {
        using _ = device.stoppable(stop, () => matmul(x, x))
        await device.sync()
      }
      using never = stopOn(new AbortController().signal)
      await multiply(never)
      const whole = await timed(() => multiply(never))
      const abort = new AbortController()
      using stop = stopOn(abort.signal)
      setTimeout(() => abort.abort(), whole / 10)
      const stopped = await timed(() => multiply(stop))
      t.diagnostic(`${name}: ${whole.toFixed(0)} ms, stopped after a tenth ${stopped.toFixed(0)} ms`)
      assert.ok(stopped < 0.6 * whole, `${stopped} of ${whole} ms`)
      await device.close()
    })
  })
}
