import type { Interface } from 'node:readline'
import { Writable } from 'node:stream'
import { decodeUtf8 } from '../formats/source.ts'
import { interrupted } from './interrupt.ts'

/** Where what a user says comes from, line by line. */
export interface Lines {
  /** The next line, asked for with `prompt` where a person sees it; null at the end. */
  next(prompt: string): Promise<string | null>
  /** Lets Ctrl-C end `body` and nothing else, where a person sits; what is typed meanwhile waits. */
  during<T>(body: (signal: AbortSignal) => Promise<T>): Promise<T>
  close(): void
}

/** Lines of stdin as a pipe brings them. */
export class PipedLines implements Lines {
  private readonly lines = readLines()

  async next(): Promise<string | null> {
    const { value, done } = await this.lines.next()
    return done ? null : value
  }

  during<T>(body: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return body(interrupted)
  }

  close(): void {
    process.stdin.destroy()
  }
}

/** @throws FormatError at a line that is not UTF-8 */
async function* readLines(): AsyncGenerator<string> {
  let rest = Buffer.alloc(0)
  const text = (line: Uint8Array) => decodeUtf8(line, 'stdin').replace(/\r$/, '')
  for await (const chunk of process.stdin) {
    rest = Buffer.concat([rest, chunk])
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      const line = rest.subarray(0, end)
      rest = rest.subarray(end + 1)
      yield text(line)
    }
  }
  if (rest.length > 0) yield text(rest)
}

/** Lines that a person types at a terminal: with a history, and Ctrl-C that takes back a line. */
export class TypedLines implements Lines {
  private readonly readline: Interface
  private readonly screen: Screen
  private readonly waiting: string[] = []
  private wake: (() => void) | undefined
  private answering: AbortController | undefined
  private ended = false

  private constructor(readline: Interface, screen: Screen) {
    this.readline = readline
    this.screen = screen
    readline.on('line', (line) => {
      this.waiting.push(line)
      this.wake?.()
    })
    readline.on('close', () => this.end())
    readline.on('SIGINT', () => this.interrupt())
    interrupted.addEventListener('abort', () => readline.close())
  }

  static async open(): Promise<TypedLines> {
    const { createInterface } = await import('node:readline')
    const screen = new Screen()
    const readline = createInterface({
      input: process.stdin,
      output: screen,
      terminal: true,
      historySize: 1000,
    })
    return new TypedLines(readline, screen)
  }

  async next(prompt: string): Promise<string | null> {
    if (this.waiting.length === 0 && !this.ended) {
      this.readline.setPrompt(prompt)
      // Keeps what was typed while the answer came.
      this.readline.prompt(true)
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    } else if (this.waiting.length > 0) process.stdout.write(`${prompt}${this.waiting[0]}\n`)
    return this.waiting.shift() ?? null
  }

  async during<T>(body: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.answering = new AbortController()
    this.screen.muted = true
    try {
      return await body(this.answering.signal)
    } finally {
      this.screen.muted = false
      this.answering = undefined
    }
  }

  close(): void {
    this.readline.close()
  }

  private end(): void {
    this.ended = true
    this.answering?.abort()
    this.wake?.()
  }

  private interrupt(): void {
    if (this.answering) {
      this.answering.abort()
      return
    }
    if (this.readline.line === '') process.stdout.write('\n(Ctrl-D or /exit leaves)')
    // To the end of the line, and all of it away.
    this.readline.write(null, { ctrl: true, name: 'e' })
    this.readline.write(null, { ctrl: true, name: 'u' })
    process.stdout.write('\n')
    this.readline.prompt()
  }
}

/** What readline writes to: the terminal, or nothing while an answer is written there. */
class Screen extends Writable {
  muted = false

  get columns(): number {
    return process.stdout.columns
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    if (!this.muted) process.stdout.write(chunk)
    done()
  }
}
