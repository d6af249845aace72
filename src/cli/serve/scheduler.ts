import { Batch, type BatchSettings, type SequenceListener } from '../../models/batch/batch.ts'
import type { CausalLM } from '../../models/causalLM.ts'
import type { Sequence } from '../../models/sequence.ts'
import { ApiError } from './apiError.ts'

/** Runs the sequences of all requests in one batch, as long as there are any. */
export class Scheduler {
  private readonly batch: Batch
  private readonly size: number
  private readonly queue: number
  private running: Promise<void> | undefined
  private closed = false

  /** @param queue sequences that may wait for a row */
  constructor(model: CausalLM, settings: BatchSettings & { queue: number }) {
    const { queue, ...batch } = settings
    this.batch = new Batch(model, batch)
    this.size = settings.size
    this.queue = queue
  }

  /** Sequences that run or wait. */
  get count(): number {
    return this.batch.count
  }

  /**
   * Takes the sequences of a request, all or none.
   * @throws ApiError 429 if more would wait than may
   */
  add(sequences: readonly Sequence[], listeners: readonly SequenceListener[]): void {
    if (this.closed) throw new ApiError(503, 'The server is shutting down.', { type: 'server_error' })
    if (this.batch.count + sequences.length > this.size + this.queue) {
      throw new ApiError(429, `The server is busy: ${this.batch.count} texts run or wait. Try again later.`, {
        type: 'requests',
        code: 'rate_limit_exceeded',
      })
    }
    for (const [i, sequence] of sequences.entries()) this.batch.add(sequence, listeners[i])
    this.running ??= this.run().finally(() => {
      this.running = undefined
    })
  }

  /** Lets sequences go whose reader has gone. */
  remove(sequences: readonly Sequence[]): void {
    for (const sequence of sequences) this.batch.remove(sequence)
  }

  private async run(): Promise<void> {
    while (this.batch.count > 0) {
      try {
        await this.batch.step()
      } catch (error) {
        // The device failed: it may do so again for others, but not for these.
        this.batch.endAll(error)
      }
    }
  }

  /** Ends all sequences, and gives the memory back once the step that runs has ended. */
  async close(): Promise<void> {
    this.closed = true
    this.batch.endAll(new ApiError(503, 'The server is shutting down.', { type: 'server_error' }))
    await this.running
    this.batch.dispose()
  }
}
