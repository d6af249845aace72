/** A part of the heap. */
interface Block {
  address: number
  bytes: number
}

const alignment = 64

/**
 * Hands out addresses of a memory that lives elsewhere: best fit, neighbours coalesce when freed, and the
 * heap extends only when no free block is large enough. It holds a block per tensor, so lists are searched
 * from end to end.
 */
export class Heap {
  /** Every address handed out lies below. */
  end: number
  /** The end never passes it. */
  limit: number
  /** Bytes below the end that are free. */
  private freeBytes = 0
  /** By address; no two of them touch. */
  private readonly free: Block[] = []
  private readonly used = new Map<number, number>()

  /** Addresses in [start, limit). */
  constructor(start: number, limit: number) {
    this.end = start
    this.limit = limit
  }

  /** Bytes not handed out: `reused` among what was handed out before, `unused` above all of it. */
  get availableBytes(): { reused: number; unused: number } {
    return { reused: this.freeBytes, unused: this.limit - this.end }
  }

  /** Gives up what is free above `address`: the memory is not there. */
  lowerEnd(address: number): void {
    const last = this.free.at(-1)
    if (!last || last.address + last.bytes !== this.end || this.end <= address) return
    const cut = this.end - Math.max(address, last.address)
    this.end -= cut
    this.freeBytes -= cut
    last.bytes -= cut
    if (last.bytes === 0) this.free.pop()
  }

  /** Lowers the limit, at most to the end. */
  limitTo(limit: number): void {
    this.limit = Math.max(this.end, Math.min(limit, this.limit))
  }

  /** The address of `bytes` bytes, 64-byte aligned, or null if they do not fit below the limit. */
  allocate(bytes: number): number | null {
    const size = Math.max(1, Math.ceil(bytes / alignment)) * alignment
    let best = -1
    for (const [index, block] of this.free.entries()) {
      if (block.bytes >= size && (best < 0 || block.bytes < this.free[best].bytes)) best = index
    }
    if (best < 0) best = this.extend(size)
    if (best < 0) return null
    const block = this.free[best]
    const { address } = block
    if (block.bytes === size) this.free.splice(best, 1)
    else {
      block.address += size
      block.bytes -= size
    }
    this.used.set(address, size)
    this.freeBytes -= size
    return address
  }

  /** Makes the last free block as large as `size` by moving the end; its index, or -1 beyond the limit. */
  private extend(size: number): number {
    const last = this.free.at(-1)
    const start = last && last.address + last.bytes === this.end ? last.address : this.end
    if (!(start + size <= this.limit)) return -1
    if (start === this.end) this.free.push({ address: start, bytes: size })
    else this.free[this.free.length - 1].bytes = size
    this.freeBytes += start + size - this.end
    this.end = start + size
    return this.free.length - 1
  }

  /** Takes a block back; false if there is none at that address. */
  release(address: number): boolean {
    const bytes = this.used.get(address)
    if (bytes === undefined) return false
    this.used.delete(address)
    this.freeBytes += bytes
    let index = this.free.findIndex((block) => block.address > address)
    if (index < 0) index = this.free.length
    this.free.splice(index, 0, { address, bytes })
    this.joinNext(index)
    if (index > 0) this.joinNext(index - 1)
    return true
  }

  private joinNext(index: number): void {
    const block = this.free[index]
    const next = this.free[index + 1]
    if (next && block.address + block.bytes === next.address) {
      block.bytes += next.bytes
      this.free.splice(index + 1, 1)
    }
  }
}
