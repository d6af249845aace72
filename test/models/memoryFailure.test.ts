import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { DeviceError } from '../../src/core/errors.ts'
import type { Device } from '../../src/devices/device.ts'
import { openDevice } from '../../src/devices/open.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { DecodeStep } from '../../src/models/decodeStep.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { fixtures } from '../formats/ggufBytes.ts'
import { golden } from '../golden.ts'

/*
 * Whoever finds no memory gives back what it had taken; and saving takes no more than it writes.
 */

const device = openDevice('cpu', { threads: 2 })
after(async () => {
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})
const noMemory = new DeviceError('no memory')

/** Runs `body` on a device that has memory for `count` blocks more. */
async function withBlocks<R>(count: number, body: () => R | Promise<R>): Promise<R> {
  let left = count
  const allocate: Device['allocate'] = (bytes) => {
    if (left-- === 0) throw noMemory
    return Reflect.apply(Object.getPrototypeOf(device).allocate, device, [bytes])
  }
  Object.defineProperty(device, 'allocate', { value: allocate, configurable: true })
  try {
    return await body()
  } finally {
    Reflect.deleteProperty(device, 'allocate')
  }
}

test('GGUF blocks with minima, wherever memory ends', async () => {
  for (let count = 0; count < 16; count++) {
    await assert.rejects(
      withBlocks(count, () => loadCausalLM(`${fixtures}stories260K-q5_1.gguf`, { device })),
      noMemory,
    )
    assert.equal(device.allocatedBytes, 0, `after ${count} blocks`)
  }
})

test('a step of generation, wherever memory ends', async () => {
  using model = await loadCausalLM('lowbit/models/stories260K', { device })
  using cache = model.createCache(16)
  model.prepare(cache.capacity)
  const before = device.allocatedBytes
  const backend: { allocate(size: number): number; free(address: number, size: number): void } = Reflect.get(
    device,
    'backend',
  )
  device.trim()
  const { allocate, free } = backend
  const held = new Set<number>()
  backend.allocate = (size) => {
    const address = allocate.call(backend, size)
    held.add(address)
    return address
  }
  backend.free = (address, size) => {
    held.delete(address)
    free.call(backend, address, size)
  }
  for (const count of [0, 1, 2, 8]) {
    await assert.rejects(
      withBlocks(count, () => new DecodeStep(model, cache)),
      noMemory,
    )
    assert.equal(device.allocatedBytes, before, `after ${count} blocks`)
    device.trim()
    assert.equal(held.size, 0, `blocks that stay with the list after ${count}`)
  }
  Object.assign(backend, { allocate, free })
})

test("bitsandbytes' nested scales are saved without the codes being laid out again", async () => {
  using model = await loadCausalLM(join(golden, 'stories260K/bnb-nf4-dq'), { device })
  const weights = [...model.namedTensors()].filter(([, tensor]) => 'codeTiles' in tensor).length
  assert.equal(weights, 35)
  let unpacked = 0
  const call: Device['call'] = (kernel, args) => {
    if (kernel === 'tileUnpack') unpacked++
    Reflect.apply(Object.getPrototypeOf(device).call, device, [kernel, args])
  }
  Object.defineProperty(device, 'call', { value: call, configurable: true })
  try {
    await save(model, memoryFolder(new Map()), { onWarning: () => {} })
  } finally {
    Reflect.deleteProperty(device, 'call')
  }
  assert.equal(unpacked, weights)
})
