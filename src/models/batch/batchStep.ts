import type { CommandList } from '../../devices/commandList.ts'
import { argmax, embedding } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { copyTo, Tensor } from '../../tensor/tensor.ts'
import type { KVCache } from '../caches/kvCache.ts'
import type { CausalLM } from '../causalLM.ts'

/** The position of a sequence that is left out of a step. */
const leftOut = -1

/**
 * One step of several sequences as a kept command list: each has its row, its token and its position, which
 * the list reads from memory, so that sequences of unequal length take it together.
 */
export class BatchStep {
  /** [B, 1] int32: the token of each sequence. */
  private readonly ids: Tensor
  /** [B] int32: where each token stands. */
  private readonly positions: Tensor
  /** [B, 2] int32: the likeliest next token, and the bits of its logit, which is NaN as soon as any is. */
  private readonly likeliest: Tensor
  /** [B, V] float32, of the last `run`. */
  private readonly logits: Tensor
  private readonly list: CommandList

  private readonly cache: KVCache

  /** @param cache that of all sequences; it is disposed with the step, also when recording fails */
  constructor(model: CausalLM, cache: KVCache) {
    const { device } = model
    this.cache = cache
    const B = cache.batch
    const made = keep({
      ids: Tensor.empty(device, [B, 1], 'int32'),
      positions: Tensor.empty(device, [B], 'int32'),
      likeliest: Tensor.empty(device, [B, 2], 'int32'),
    })
    this.ids = made.ids
    this.positions = made.positions
    this.likeliest = made.likeliest
    try {
      // Tables are written by the host, which a kept list cannot hold: they must be there before.
      model.prepare(cache.capacity)
      const { list, result } = device.capture(() =>
        scope(() => {
          const logits = model.forward(this.ids, { cache, position: this.positions })
          const rows = Array.from({ length: B }, (_, b) => logits.rows(b, b + 1))
          const best = argmax(logits)
          for (const [b, row] of rows.entries()) {
            const id = best.rows(b, b + 1)
            const found = this.likeliest.rows(b, b + 1).view([2])
            copyTo(id, found.rows(0, 1))
            copyTo(embedding(row.view([row.numel, 1]), id), found.rows(1, 2))
          }
          return keep(logits.view([B, -1]))
        }),
      )
      this.list = list
      this.logits = result
    } catch (error) {
      for (const tensor of Object.values(made)) tensor.dispose()
      cache.dispose()
      throw error
    }
  }

  /** How many sequences it has. */
  get rows(): number {
    return this.logits.size(0)
  }

  /**
   * Queues one step, which adds a token to each sequence that has one; undefined leaves a sequence out.
   * @param tokens of each row
   */
  run(tokens: readonly (number | undefined)[]): void {
    this.ids.write(bytesOf(tokens.map((id) => id ?? 0)))
    this.positions.write(bytesOf(tokens.map((id, row) => (id === undefined ? leftOut : this.place(row)))))
    this.list.run()
  }

  /** Where the next token of a row stands, which is there from now on. */
  private place(row: number): number {
    const place = this.cache.lengths[row]
    this.cache.setLength(row, place + 1)
    return place
  }

  /** Resolves to the likeliest token of each row and its logit, as the last `run` left them. */
  async readLikeliest(): Promise<{ id: number; logit: number }[]> {
    const bytes = await this.likeliest.readBytes()
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    return Array.from({ length: this.rows }, (_, b) => ({
      id: view.getInt32(8 * b, true),
      logit: view.getFloat32(8 * b + 4, true),
    }))
  }

  /** Resolves to the logits [V] of each row up to the last of `rows`, which are read at once. */
  async readLogits(rows: readonly number[]): Promise<Float32Array[]> {
    if (rows.length === 0) return []
    const count = Math.max(...rows) + 1
    const some = keep(this.logits.rows(0, count))
    const values = (await some.read()) as Float32Array
    some.dispose()
    const size = values.length / count
    return Array.from({ length: count }, (_, row) => values.subarray(row * size, (row + 1) * size))
  }

  dispose(): void {
    for (const tensor of [this.ids, this.positions, this.likeliest, this.logits]) tensor.dispose()
    this.list.dispose()
    this.cache.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

function bytesOf(values: readonly number[]): Uint8Array {
  return new Uint8Array(Int32Array.from(values).buffer)
}
