import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Watches for how long the event loop stands still: with Node's own monitor at 1 ms, and with a heartbeat of
 * setImmediate, which JavaScript would feel. A heartbeat that never rests would take a core from what is
 * measured, so it rests for 1 ms between beats.
 */
export class Pauses {
  private readonly delay = monitorEventLoopDelay({ resolution: 1 })
  private watching = true
  private last = performance.now()
  private longestMs = 0

  constructor() {
    this.delay.enable()
    setImmediate(() => this.beat())
  }

  private beat(): void {
    const now = performance.now()
    this.longestMs = Math.max(this.longestMs, now - this.last)
    this.last = now
    if (this.watching) setTimeout(() => setImmediate(() => this.beat()), 1)
  }

  /** Stops watching; resolves to the longest pause in milliseconds that either of the two saw. */
  async end(): Promise<number> {
    // A pause at the very end is seen only when the loop turns again.
    await sleep(5)
    this.watching = false
    this.delay.disable()
    return Math.max(this.longestMs, this.delay.max / 1e6)
  }
}
