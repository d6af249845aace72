import type { Bytes } from '../../core/dtype.ts'

/** A file of a run's own, which is gone with it. */
export interface ScratchFile {
  /** @throws FormatError if the disk has no room */
  write(offset: number, bytes: Uint8Array): Promise<void>
  /** Fills `into` with what lies there. */
  read(offset: number, into: Uint8Array): Promise<void>
  close(): Promise<void>
}

/** Where something lies in the file. */
export interface Place {
  readonly offset: number
  readonly capacity: number
}

/** What a run keeps for later: on the device up to a number of bytes, behind that in a file. */
export class Scratch {
  private readonly maxBytes: number
  private readonly open: () => Promise<ScratchFile>
  private heldBytes = 0
  private file: Promise<ScratchFile> | null = null
  private end = 0
  private free: Place[] = []
  private buffer = new Uint8Array(0)
  private lent = false

  /** @param open makes the file, when it is first needed */
  constructor(maxBytes: number, open: () => Promise<ScratchFile>) {
    this.maxBytes = maxBytes
    this.open = open
  }

  /** Takes room on the device; false where there is none left. */
  take(bytes: number): boolean {
    if (this.heldBytes + bytes > this.maxBytes) return false
    this.heldBytes += bytes
    return true
  }

  /** Gives room on the device back. */
  give(bytes: number): void {
    this.heldBytes -= bytes
  }

  /**
   * Lends a buffer of so many bytes for a way to the file or from it. It is the same each time: a new one for
   * each state would be memory that is held until garbage is collected.
   */
  async passing<R>(bytes: number, use: (buffer: Bytes) => Promise<R>): Promise<R> {
    if (this.lent) return use(new Uint8Array(bytes))
    if (this.buffer.byteLength < bytes) this.buffer = new Uint8Array(bytes)
    this.lent = true
    try {
      return await use(this.buffer.subarray(0, bytes))
    } finally {
      this.lent = false
    }
  }

  async write(bytes: Uint8Array): Promise<Place> {
    this.file ??= this.open()
    const found = this.free.findIndex(({ capacity }) => capacity >= bytes.byteLength)
    const place =
      found >= 0 ? this.free.splice(found, 1)[0] : { offset: this.end, capacity: bytes.byteLength }
    if (found < 0) this.end += bytes.byteLength
    await (await this.file).write(place.offset, bytes)
    return place
  }

  async read({ offset }: Place, into: Uint8Array): Promise<void> {
    if (!this.file) throw new Error('scratch: nothing was written')
    await (await this.file).read(offset, into)
  }

  /** What lies there is not needed any more. */
  forget(place: Place): void {
    this.free.push(place)
  }

  async close(): Promise<void> {
    // One that could not be opened has said so.
    const file = await this.file?.catch(() => null)
    await file?.close()
  }
}
