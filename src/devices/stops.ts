import type { Backend, Stop } from './backend.ts'

/** Hands out the flags of a backend, each to one at a time. */
export class Stops {
  private readonly backend: Backend
  private readonly free: number[]
  private tickets = 0

  constructor(backend: Backend) {
    this.backend = backend
    this.free = Array.from({ length: backend.stopFlags }, (_, flag) => flag)
  }

  /** What stops once the signal aborts; null where no flag is left. */
  take(signal: AbortSignal): SignalStop | null {
    const flag = this.free.pop()
    if (flag === undefined) return null
    const { backend } = this
    // The flag may still hold the ticket of who had it before: a higher one need not wait until that was seen.
    return new SignalStop({ flag, ticket: ++this.tickets }, signal, backend, () => this.free.push(flag))
  }
}

/** Stops when its signal aborts, until it is disposed. */
export class SignalStop implements Stop, Disposable {
  readonly flag: number
  readonly ticket: number
  private readonly end: () => void

  constructor({ flag, ticket }: Stop, signal: AbortSignal, backend: Backend, giveBack: () => void) {
    this.flag = flag
    this.ticket = ticket
    const raise = () => backend.raise(this)
    signal.addEventListener('abort', raise)
    this.end = () => {
      signal.removeEventListener('abort', raise)
      giveBack()
    }
    if (signal.aborted) raise()
  }

  [Symbol.dispose](): void {
    this.end()
  }
}
