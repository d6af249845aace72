import { host } from '#host'
import { DeviceError } from '../core/errors.ts'
import { check, oneOf, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import type { Backend } from './backend.ts'
import { nativeProblem, openNative } from './cpu/native.ts'
import { openWasm } from './cpu/wasm.ts'
import { Device } from './device.ts'

/** `cpu` is `native` where the addon is there, else `wasm`. */
export type DeviceName = 'cpu' | 'native' | 'wasm'

/** What `openDevice` may be told. */
export interface DeviceOptions {
  /** Threads that kernels split their work over; default: one per core. */
  threads?: number
}

const names = { ...oneOf('cpu', 'native', 'wasm'), error: DeviceError }
const optionKinds: OptionKinds<DeviceOptions> = { threads: { ...wholeNumber(1), error: DeviceError } }

const shared = new Map<DeviceName, Device>()

/**
 * Opens a device. Without options every call for a name gives the same one.
 * @throws DeviceError if there is no such device here, ShapeError for options that do not exist
 */
export function openDevice(name: DeviceName = 'cpu', options: DeviceOptions = {}): Device {
  check('openDevice', 'name', name, names)
  checkOptions('openDevice', options, optionKinds)
  if (options.threads !== undefined) return new Device(openBackend(name, options))
  let device = shared.get(name)
  if (!device?.open) {
    device = new Device(openBackend(name, options))
    shared.set(name, device)
  }
  return device
}

/**
 * A device for work that ends: the one that was given, else the shared one where it is open, else one of its own,
 * which alone `close` closes: models that lie on the others stay.
 */
export function temporaryDevice(given?: Device): { device: Device; close(): Promise<void> } {
  const device = given ?? shared.get('cpu')
  if (device && (given || device.open)) return { device, close: async () => {} }
  const own = new Device(openBackend('cpu', {}))
  return { device: own, close: () => own.close() }
}

function openBackend(name: DeviceName, { threads }: DeviceOptions): Backend {
  if (name === 'native') return openNative({ threads })
  if (name === 'cpu') {
    const problem = nativeProblem()
    if (!problem) return openNative({ threads })
    sayOnce(problem)
  }
  return openWasm({ threads })
}

let said = false

/**
 * That a machine computes without its addon is told once, unless LOWBIT_NATIVE=absent says that it is
 * known; a browser has none.
 */
function sayOnce(problem: string): void {
  if (said || host.platform === null || host.variable('LOWBIT_NATIVE') === 'absent') return
  said = true
  console.warn(`lowbit: ${problem}; using WebAssembly (slower)`)
}
