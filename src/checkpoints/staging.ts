import type { Tensor } from '../tensor/tensor.ts'

/** Bytes that are read and uploaded at a time: long enough for full speed, short beside any model. */
const pieceBytes = 2 ** 20
/** Pieces on their way at once: one is read while others wait for the device, which may be at work. */
const piecesAtOnce = 4

/**
 * Buffers through which the bytes of files pass onto a device: a few pieces of some megabytes, however large
 * the tensors are. While a piece is copied on the device's queue, the next is read.
 */
export class Staging {
  private readonly free: Uint8Array[] = []
  private made = 0
  private readonly waiting: ((buffer: Uint8Array) => void)[] = []

  /**
   * Fills a tensor of `rows` rows of `rowBytes` bytes; resolves when all is on the queue or has been copied.
   * @param read the bytes of some rows, in `into` or elsewhere, where they then stay as they are
   */
  async upload(
    tensor: Tensor,
    rows: number,
    rowBytes: number,
    read: (start: number, end: number, into: Uint8Array) => Promise<Uint8Array>,
  ): Promise<void> {
    const { device, storage, byteOffset } = tensor
    const step = Math.max(1, Math.floor(pieceBytes / rowBytes))
    const copies: Promise<void>[] = []
    for (let start = 0; start < rows; start += step) {
      const end = Math.min(rows, start + step)
      const buffer = await this.take()
      // Longer than a buffer: one row of many values.
      const into =
        (end - start) * rowBytes <= buffer.length ? buffer : new Uint8Array((end - start) * rowBytes)
      const bytes = await read(start, end, into).catch((error: unknown) => {
        this.give(buffer)
        throw error
      })
      const copied = device
        .upload({ storage, byteOffset: byteOffset + start * rowBytes }, bytes)
        .finally(() => this.give(buffer))
      // A failure rejects whatever awaits this; unawaited it is no unhandled rejection.
      copied.catch(() => {})
      copies.push(copied)
    }
    await Promise.all(copies)
  }

  private async take(): Promise<Uint8Array> {
    const buffer = this.free.pop()
    if (buffer) return buffer
    if (this.made < piecesAtOnce) {
      this.made++
      return new Uint8Array(pieceBytes)
    }
    return new Promise((resolve) => this.waiting.push(resolve))
  }

  private give(buffer: Uint8Array): void {
    const next = this.waiting.shift()
    if (next) next(buffer)
    else this.free.push(buffer)
  }
}
