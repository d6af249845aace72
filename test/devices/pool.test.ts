import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Backend } from '../../src/devices/backend.ts'
import { Device } from '../../src/devices/device.ts'

/** A backend that only counts what it holds. */
function counting(): Backend & { bytes: number; calls: number } {
  return {
    name: 'counting',
    threads: 1,
    bytes: 0,
    calls: 0,
    availableBytes: () => Infinity,
    allocate(bytes) {
      this.bytes += bytes
      return 64 * ++this.calls
    },
    free(_, bytes) {
      this.bytes -= bytes
    },
    write() {},
    upload: async () => {},
    run() {},
    stopFlags: 0,
    raise() {},
    read: async () => {},
    close: async () => {},
  }
}

const MiB = 2 ** 20

test('what is taken and given back in turns is kept, however much it is; what was needed once is not', () => {
  const backend = counting()
  const device = new Device(backend)
  const step = () => {
    const blocks = [320, 192, 320, 160].map((size) => device.allocate(size * MiB))
    for (const block of blocks) block.release()
  }
  step()
  assert.equal(backend.bytes, 192 * MiB, 'of a first step no more stays than 256 MiB')
  step()
  step()
  const { calls } = backend
  assert.equal(backend.bytes, 992 * MiB)
  for (let i = 0; i < 5; i++) step()
  assert.equal(backend.calls, calls, 'the system is asked for nothing')
  device.trim()
  assert.equal(backend.bytes, 0)
})

test('what a capture that fails took goes back to the system', () => {
  const backend = counting()
  const device = new Device(backend)
  const kept = device.allocate(MiB)
  assert.throws(
    () =>
      device.capture(() => {
        device.allocate(4 * MiB).release()
        throw new Error('no more')
      }),
    { message: 'no more' },
  )
  assert.equal(backend.bytes, MiB)
  kept.release()
})
