import type { Backend } from './backend.ts'
import type { Device } from './device.ts'
import { Storage } from './storage.ts'

/**
 * Freed blocks kept for reuse; beyond this they go back to the system, until it shows that they are needed
 * again.
 */
const pooledBytesLimit = 256 * 2 ** 20

/** Blocks of device memory by size, handed out again once they are given back. */
export class Pool {
  private readonly device: Device
  private readonly backend: Backend
  private readonly free = new Map<number, number[]>()
  private freeBytes = 0
  private limitBytes = pooledBytesLimit
  /** How many blocks of a size went back to the system, less those asked for again since. */
  private readonly returned = new Map<number, number>()
  private retired = false

  constructor(device: Device, backend: Backend) {
    this.device = device
    this.backend = backend
  }

  /** @throws DeviceError if the memory is not to be had. */
  allocate(bytes: number): Storage {
    const size = sizeClass(bytes)
    let address = this.free.get(size)?.pop()
    if (address === undefined) {
      address = this.backend.allocate(size)
      this.raiseLimit(size)
    } else this.freeBytes -= size
    const { device } = this
    device.allocatedBytes += size
    device.peakBytes = Math.max(device.peakBytes, device.allocatedBytes)
    return new Storage(this.device, this, address, size)
  }

  /**
   * A block that was given to the system is missing: what repeats itself, as training steps do, keeps as much
   * as it takes in turns.
   */
  private raiseLimit(size: number): void {
    const count = this.returned.get(size)
    if (!count) return
    this.returned.set(size, count - 1)
    this.limitBytes += size
  }

  /**
   * Takes back a storage that nothing refers to any more; its next user is queued behind all that used it
   * before.
   */
  recycle({ address, capacityBytes: size }: Storage): void {
    this.device.allocatedBytes -= size
    if (!this.device.open) return
    if (this.retired || this.freeBytes + size > this.limitBytes) {
      this.returned.set(size, (this.returned.get(size) ?? 0) + 1)
      this.device.flush()
      this.backend.free(address, size)
      return
    }
    this.freeBytes += size
    const free = this.free.get(size)
    if (free) free.push(address)
    else this.free.set(size, [address])
  }

  /** Gives the blocks that wait for reuse back to the system, unless they are at most so many bytes. */
  trim(keptBytes = 0): void {
    if (!this.device.open || this.freeBytes <= keptBytes) return
    this.device.flush()
    for (const [size, addresses] of this.free)
      for (const address of addresses) this.backend.free(address, size)
    this.free.clear()
    this.freeBytes = 0
    this.returned.clear()
    this.limitBytes = pooledBytesLimit
  }

  /** From now on nothing is kept for reuse. */
  retire(): void {
    this.retired = true
    this.trim()
  }
}

/**
 * Rounds up to one of eight sizes per power of two (64 bytes at least), so that blocks can be reused and
 * waste at most an eighth.
 */
function sizeClass(bytes: number): number {
  if (bytes <= 64) return 64
  const step = Math.max(64, 2 ** (Math.floor(Math.log2(bytes)) - 3))
  return Math.ceil(bytes / step) * step
}
