import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { benchmark } from '../../src/evaluate/benchmark.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

class Net extends Module {
  fc = new Linear(64, 64)
  passes = 0
  forward(x: Tensor): Tensor {
    this.passes++
    return this.fc.forward(x)
  }
}
const net = initialize(new Net(), device)
const x = Tensor.full(device, [8, 64], 1)

test('benchmark: as many passes as asked for, those before them not timed; nothing stays behind', async () => {
  const before = device.allocatedBytes
  const result = await benchmark(net, [x], { runs: 7, warmup: 2 })
  assert.equal(net.passes, 9)
  assert.equal(result.runs, 7)
  const { minMs, medianMs, meanMs, maxMs } = result
  assert.ok(minMs > 0 && minMs <= medianMs && medianMs <= maxMs && minMs <= meanMs && meanMs <= maxMs)
  assert.equal(device.allocatedBytes, before)
  // The output, beside all that was there.
  assert.equal(result.peakBytes, before + 8 * 64 * 4)
})

test('benchmark: what cannot be timed is refused', async () => {
  await assert.rejects(benchmark(new (class extends Module {})(), [x]), /the model must have forward/)
  class Nothing extends Module {
    forward(): void {}
  }
  await assert.rejects(benchmark(new Nothing(), []), /the model or the inputs must hold a tensor/)
  const signal = AbortSignal.abort(new Error('stopped'))
  await assert.rejects(benchmark(net, [x], { signal }), { message: 'stopped' })
})
