import { after, test } from 'node:test'
import type { Device } from '../../src/devices/device.ts'
import { openDevice } from '../../src/devices/open.ts'

/**
 * A test that runs on the CPU's own instructions and on WebAssembly; `LOWBIT_DEVICES=cpu` chooses one while
 * developing.
 */
export function testOnDevices(name: string, body: (device: Device) => Promise<void> | void): void {
  for (const [kind, device] of devices()) test(`${name} (${kind})`, () => body(device))
}

let opened: Map<string, Device> | undefined

function devices(): Map<string, Device> {
  if (opened) return opened
  const names = process.env.LOWBIT_DEVICES?.split(',') ?? ['cpu', 'wasm']
  opened = new Map(names.map((name) => [name, openDevice(name as 'cpu' | 'wasm', { threads: 2 })]))
  const all = [...opened.values()]
  after(() => Promise.all(all.map((device) => device.close())))
  return opened
}
