import { after, test } from 'node:test'
import type { Device } from '../../src/devices/device.ts'
import { openDevice } from '../../src/devices/open.ts'
import { deviceNames } from '../deviceNames.ts'

/**
 * A test that runs on the CPU's own instructions and on WebAssembly; `LOWBIT_DEVICES=native` chooses one
 * while developing.
 */
export function testOnDevices(name: string, body: (device: Device) => Promise<void> | void): void {
  for (const [kind, device] of devices()) test(`${name} (${kind})`, () => body(device))
}

let opened: Map<string, Device> | undefined

function devices(): Map<string, Device> {
  if (opened) return opened
  opened = new Map(deviceNames.map((name) => [name, openDevice(name, { threads: 2 })]))
  const all = [...opened.values()]
  after(() => Promise.all(all.map((device) => device.close())))
  return opened
}
