import type { Device } from '../src/devices/device.ts'

/** The kernels that `body` has a device run, in order. */
export function kernelsOf(device: Device, body: () => void): string[] {
  const names: string[] = []
  const { call } = device
  device.call = ((kernel: string, args: never) => {
    // An argument that is computed now has its own kernel before.
    call.call(device, kernel as never, args)
    names.push(kernel)
  }) as typeof call
  try {
    body()
  } finally {
    device.call = call
  }
  return names
}
