import { DeviceError } from '../../core/errors.ts'
import { type Compute, computeIn } from '../../nn/computeDtype.ts'
import type { ComputeDType } from '../../qtensor/computeDtype.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import type { CacheType } from '../caches/index.ts'
import type { KVCache } from '../caches/kvCache.ts'
import type { CausalLM } from '../causalLM.ts'
import { prefill } from '../prefill.ts'
import type { GeneratedToken, Sequence } from '../sequence.ts'
import { BatchStep } from './batchStep.ts'

/** How many sequences a batch runs at once, and what it keeps of them. */
export interface BatchSettings {
  /** Sequences that run at once; others wait. */
  size: number
  /** Tokens that each may have, prompt and text together. */
  capacity: number
  kv?: CacheType
  computeDtype?: ComputeDType
}

/** Who is told of a sequence's tokens. */
export interface SequenceListener {
  onToken(token: GeneratedToken): void
  /** When no further token comes: the sequence has ended, or cannot go on for this reason. */
  onEnd(error?: unknown): void
}

/** A sequence of the batch. */
interface Member {
  sequence: Sequence
  listener: SequenceListener
  /** The row of the cache that it has; none while it waits. */
  row: number
  /** While its prompt is read: its row of the cache, and the chunks that are left. */
  prefill?: { cache: KVCache; chunks: AsyncGenerator<void, Tensor> }
  gone: boolean
}

/**
 * Sequences that are continued together: one step of the model gives each its next token. They come and go
 * between steps; a prompt is read in chunks between steps of the others.
 *
 * Rows of the cache are kept close: a step runs the first 1, 2, 4 … rows, and one that stands behind them
 * moves to the front when a smaller step would do.
 */
export class Batch {
  private readonly model: CausalLM
  private readonly cache: KVCache
  private readonly compute: Compute
  /** The steps that were recorded, by how many rows they have. */
  private readonly steps = new Map<number, BatchStep>()
  private readonly waiting: Member[] = []
  /** By rows. */
  private readonly rows: (Member | undefined)[]
  private readonly members = new Map<Sequence, Member>()
  /** How long the last step of all rows took. */
  private stepMs = 0

  constructor(model: CausalLM, settings: BatchSettings) {
    const { size, capacity, kv = 'float16', computeDtype } = settings
    this.model = model
    this.compute = computeIn(model, { asked: computeDtype, usual: 'int8' })
    this.cache = model.createCache(capacity, { kv, batch: size })
    this.rows = Array<Member | undefined>(size).fill(undefined)
  }

  /** Sequences that are to be continued. */
  get count(): number {
    return this.members.size
  }

  /** Adds a sequence, which gets a row when one is free. */
  add(sequence: Sequence, listener: SequenceListener): void {
    const member = { sequence, listener, row: -1, gone: false }
    this.members.set(sequence, member)
    this.waiting.push(member)
  }

  /** Lets a sequence go before its end; its listener hears no more. */
  remove(sequence: Sequence): void {
    const member = this.members.get(sequence)
    if (member) this.forget(member)
  }

  private forget(member: Member): void {
    member.gone = true
    this.members.delete(member.sequence)
    // Its row, if it has one, is taken from it between steps.
    const place = this.waiting.indexOf(member)
    if (place >= 0) this.waiting.splice(place, 1)
  }

  private end(member: Member, error?: unknown): void {
    if (member.gone) return
    this.forget(member)
    member.listener.onEnd(error)
  }

  /**
   * Reads prompts for about as long as a step takes, at least one chunk; then one step of all sequences that
   * have begun. Does nothing when there is none.
   * @throws DeviceError if the device fails: nothing can go on then
   */
  async step(): Promise<void> {
    this.assignRows()
    const started = performance.now()
    while ((await this.readPrompt()) && performance.now() - started < this.stepMs);
    await this.decode()
  }

  /** Takes rows from who left, and gives them to who waits longest. */
  private assignRows(): void {
    const { rows, model, cache } = this
    for (const [row, member] of rows.entries()) if (member?.gone) this.empty(row)
    for (let row = 0; row < rows.length; row++) {
      if (rows[row]) continue
      const member = this.nextWaiting()
      if (!member) return
      const own = cache.sequence(row)
      member.row = row
      member.prefill = {
        cache: own,
        chunks: prefill(model, member.sequence.promptIds, own, this.compute, { brief: true }),
      }
      rows[row] = member
    }
  }

  /** Who waits longest; those that need no token end here. */
  private nextWaiting(): Member | undefined {
    for (;;) {
      const member = this.waiting.shift()
      if (!member?.sequence.finishReason) return member
      this.end(member)
    }
  }

  /** Makes a row free. */
  private empty(row: number): void {
    this.rows[row]?.prefill?.cache.dispose()
    this.rows[row] = undefined
    this.cache.setLength(row, 0)
  }

  /** Reads a chunk of the prompt that waits longest, and says whether there was one. */
  private async readPrompt(): Promise<boolean> {
    const member = [...this.members.values()].find(({ prefill }) => prefill)
    if (!member?.prefill) return false
    try {
      const { done, value } = await member.prefill.chunks.next()
      if (!done) return true
      member.prefill.cache.dispose()
      member.prefill = undefined
      const logits = (await value.read().finally(() => value.dispose())) as Float32Array
      this.tell(member, () => member.sequence.choose(logits))
    } catch (error) {
      if (error instanceof DeviceError) throw error
      // What is wrong with one prompt is no matter of the others.
      this.end(member, error)
    }
    return true
  }

  /** One step of all sequences that have begun. */
  private async decode(): Promise<void> {
    const running = this.rows.filter((member) => member && !member.gone && !member.prefill) as Member[]
    if (running.length === 0) return
    const started = performance.now()
    this.moveToFront(running)
    const step = this.stepOf(Math.max(...running.map(({ row }) => row)) + 1)
    const tokens = Array<number | undefined>(step.rows).fill(undefined)
    for (const { row, sequence } of running) tokens[row] = sequence.tokenIds[sequence.tokenIds.length - 1]
    step.run(tokens)
    const chosen = running.filter(({ sequence }) => !sequence.isGreedy)
    const [likeliest, logits] = await Promise.all([
      step.readLikeliest(),
      step.readLogits(chosen.map(({ row }) => row)),
    ])
    this.stepMs = performance.now() - started
    for (const member of running) {
      const { sequence, row } = member
      this.tell(member, () =>
        sequence.isGreedy ? sequence.take(likeliest[row]) : sequence.choose(logits[row]),
      )
    }
  }

  /** Moves sequences to free rows where a step of fewer rows would do. */
  private moveToFront(running: readonly Member[]): void {
    const rows = rowsFor(running.length, this.rows.length)
    for (const member of running) {
      if (member.row < rows) continue
      const free = this.rows.indexOf(undefined)
      // Rows of prompts that are still read stay where they are.
      if (free < 0 || free >= rows) return
      this.cache.moveSequence(member.row, free)
      this.rows[member.row] = undefined
      this.rows[free] = member
      member.row = free
    }
  }

  /** The step of as many rows at least, which is recorded when it is first needed. */
  private stepOf(least: number): BatchStep {
    const rows = rowsFor(least, this.rows.length)
    let step = this.steps.get(rows)
    if (!step) {
      step = this.compute(() => new BatchStep(this.model, this.cache.sequences(0, rows)))
      this.steps.set(rows, step)
    }
    return step
  }

  /** Takes a sequence's next token, and tells of it. */
  private tell(member: Member, next: () => GeneratedToken): void {
    if (member.gone) return
    try {
      member.listener.onToken(next())
    } catch (error) {
      this.end(member, error)
    }
    if (member.sequence.finishReason) this.end(member)
  }

  /** Ends all sequences for one reason. */
  endAll(error: unknown): void {
    for (const member of [...this.members.values()]) this.end(member, error)
  }

  /** Between steps. */
  dispose(): void {
    for (const row of this.rows.keys()) this.empty(row)
    for (const step of this.steps.values()) step.dispose()
    this.cache.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Rows of the step for `count` sequences: a power of two, of which few are recorded, or all that there are. */
function rowsFor(count: number, most: number): number {
  return Math.min(2 ** Math.ceil(Math.log2(count)), most)
}
