import type { Device } from './device.ts'

/** A place in a device's memory: what a kernel's array argument is. */
export interface Region {
  readonly storage: Storage
  readonly byteOffset: number
}

/** What takes a block back. */
export interface StorageOwner {
  recycle(storage: Storage): void
  /** Whether its blocks lie in a file. */
  readonly onDisk?: boolean
}

/**
 * A block of device memory, shared by all views of it and given back to its owner when the last one lets go.
 * It is an address and a length, never an ArrayBuffer: WebAssembly detaches those when its memory grows.
 */
export class Storage {
  readonly device: Device
  readonly address: number
  /** Bytes reserved, at least the bytes asked for. */
  readonly capacityBytes: number
  readonly owner: StorageOwner
  private references = 1

  constructor(device: Device, owner: StorageOwner, address: number, capacityBytes: number) {
    this.device = device
    this.owner = owner
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
    if (--this.references === 0) this.owner.recycle(this)
  }
}
