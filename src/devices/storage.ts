import type { Device } from './device.ts'
import type { Pool } from './pool.ts'

/** A place in a device's memory: what a kernel's array argument is. */
export interface Region {
  readonly storage: Storage
  readonly byteOffset: number
}

/**
 * A block of device memory, shared by all views of it and given back to its pool when the last one lets go.
 * It is an address and a length, never an ArrayBuffer: WebAssembly detaches those when its memory grows.
 */
export class Storage {
  readonly device: Device
  readonly address: number
  /** Bytes reserved, at least the bytes asked for. */
  readonly capacityBytes: number
  readonly pool: Pool
  private references = 1

  constructor(device: Device, pool: Pool, address: number, capacityBytes: number) {
    this.device = device
    this.pool = pool
    this.address = address
    this.capacityBytes = capacityBytes
  }

  /** False once the last view let go. */
  get alive(): boolean {
    return this.references > 0
  }

  retain(): this {
    this.references++
    return this
  }

  release(): void {
    if (--this.references === 0) this.pool.recycle(this)
  }
}
