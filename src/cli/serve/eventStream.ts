import type { ServerResponse } from 'node:http'

/** How the events of a stream become text, and how two that wait become one. */
export interface EventKind<Event> {
  toJSON(event: Event): object
  /** One event of two, or undefined if they must stay two. */
  merge(waiting: Event, next: Event): Event | undefined
}

/** How long a reader may take nothing before it is given up. */
const patienceMs = 30_000

/**
 * Server-sent events for a reader of any speed: while it takes nothing, what is to be told is merged into few
 * events instead of being held one by one.
 */
export class EventStream<Event> {
  private readonly response: ServerResponse
  private readonly kind: EventKind<Event>
  private readonly waiting: Event[] = []
  private ending = false
  private timer: NodeJS.Timeout | undefined

  constructor(response: ServerResponse, kind: EventKind<Event>) {
    this.response = response
    this.kind = kind
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
    })
    response.on('drain', () => this.drain())
    response.on('close', () => clearTimeout(this.timer))
  }

  send(event: Event): void {
    if (this.timer) this.hold(event)
    else this.write(event)
  }

  /** Sends what waits, then the end. */
  end(): void {
    this.ending = true
    if (!this.timer) this.response.end('data: [DONE]\n\n')
  }

  private hold(event: Event): void {
    const { waiting, kind } = this
    for (let i = waiting.length - 1; i >= 0; i--) {
      const merged = kind.merge(waiting[i], event)
      if (!merged) continue
      waiting[i] = merged
      return
    }
    waiting.push(event)
  }

  private write(event: Event): void {
    const taken = this.response.write(`data: ${JSON.stringify(this.kind.toJSON(event))}\n\n`)
    if (!taken) this.timer = setTimeout(() => this.response.destroy(), patienceMs)
  }

  private drain(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    while (this.waiting.length > 0 && !this.timer) this.write(this.waiting.shift() as Event)
    if (this.ending && !this.timer) this.end()
  }
}
