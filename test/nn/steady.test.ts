import assert from 'node:assert/strict'
import { test } from 'node:test'
import { perceptron, Trainer } from '../../bench/training/models.ts'
import type { Backend } from '../../src/devices/backend.ts'
import { openNative } from '../../src/devices/cpu/native.ts'
import { openWasm } from '../../src/devices/cpu/wasm.ts'
import { Device } from '../../src/devices/device.ts'

/*
 * Memory stays flat over many training steps.
 *
 *   LOWBIT_STEPS=10000   so many instead of 500
 */

const steps = Number(process.env.LOWBIT_STEPS ?? 500)
/** Steps between two reads: what is recorded but has not run holds memory, too. */
const stepsPerRead = 50
/** What the process may hold more at the end than after a tenth of the steps: garbage of JavaScript that waits to be collected. */
const growthLimitBytes = 16e6

for (const open of [() => openNative({ threads: 2 }), () => openWasm({ threads: 1 })]) {
  test(`${steps} training steps take no more memory than three`, async () => {
    const backend = open()
    let blocks = 0
    const counted: Backend = Object.create(backend, {
      allocate: { value: (bytes: number) => ++blocks && backend.allocate(bytes) },
    })
    const device = new Device(counted)
    const trainer = await Trainer.create({ make: () => ({ model: perceptron([20, 32, 10]), shape: [16, 20] }), steps: 1 }, device)
    const after: { blocks: number; bytes: number }[] = []
    let residentBytes = 0
    let first = 0
    for (let step = 1; step <= steps; step++) {
      const loss = trainer.step()
      after.push({ blocks, bytes: device.allocatedBytes })
      if (step % stepsPerRead === 0) {
        const [value] = await loss.toNumbers()
        first ||= value
        if (step === steps) assert.ok(value < first, `the loss falls: from ${first} to ${value}`)
        if (step >= steps / 10 && residentBytes === 0) residentBytes = process.memoryUsage().rss
      }
      loss.dispose()
    }
    assert.deepEqual(after.at(-1), after[2], `${device.name}: blocks and bytes after the last step as after the third`)
    const grown = process.memoryUsage().rss - residentBytes
    assert.ok(grown < growthLimitBytes, `${device.name}: the process holds ${grown} bytes more than after a tenth of the steps`)
    trainer.dispose()
    assert.equal(device.allocatedBytes, 0)
    await device.close()
  })
}
