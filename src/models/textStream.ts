import type { DecodeStream } from './decodeStream.ts'
import type { Tokenizer } from './tokenizer.ts'

/**
 * The text of tokens as they come, in pieces that add up to it: no piece holds what a further token might
 * change, or what may be the beginning of a stop string. The text ends before the first stop string.
 */
export class TextStream {
  private readonly stream: DecodeStream
  private readonly stopStrings: readonly string[]
  /** The text that was given. */
  text = ''
  /** Whether a stop string came. */
  stopped = false
  /** What may begin a stop string. */
  private held = ''

  constructor(tokenizer: Tokenizer, stopStrings: readonly string[]) {
    this.stream = tokenizer.decodeStream()
    this.stopStrings = stopStrings
  }

  /** What a token adds to the text that was given. */
  next(id: number): string {
    return this.give(this.stream.add(id), (text) => text.length - this.begun(text))
  }

  /** The same, when no more tokens come. */
  rest(): string {
    return this.stopped ? '' : this.give(this.stream.end(), (text) => text.length)
  }

  private give(piece: string, endOf: (text: string) => number): string {
    const text = this.held + piece
    const end = this.endIn(text) ?? endOf(text)
    this.held = text.slice(end)
    this.text += text.slice(0, end)
    return text.slice(0, end)
  }

  /** Where the first stop string stands. What was given holds none, nor the beginning of one. */
  private endIn(text: string): number | undefined {
    const places = this.stopStrings.map((stop) => text.indexOf(stop)).filter((place) => place >= 0)
    this.stopped = places.length > 0
    return this.stopped ? Math.min(...places) : undefined
  }

  /** How many characters at the end may begin a stop string. */
  private begun(text: string): number {
    const longest = Math.max(0, ...this.stopStrings.map((stop) => stop.length - 1))
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      const end = text.slice(text.length - length)
      if (this.stopStrings.some((stop) => stop.startsWith(end))) return length
    }
    return 0
  }
}
