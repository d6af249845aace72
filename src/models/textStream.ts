import type { Tokenizer } from './tokenizer.ts'

/**
 * The text of tokens as they come, in pieces that add up to it: no piece holds what a further token might
 * change, or what may be the beginning of a stop string. The text ends before the first stop string.
 */
export class TextStream {
  private readonly tokenizer: Tokenizer
  private readonly stopStrings: readonly string[]
  /** The text that was given. */
  text = ''
  /** Whether a stop string came. */
  stopped = false

  constructor(tokenizer: Tokenizer, stopStrings: readonly string[]) {
    this.tokenizer = tokenizer
    this.stopStrings = stopStrings
  }

  /** What all tokens so far add to the text that was given. */
  next(tokenIds: readonly number[]): string {
    const settled = this.tokenizer.decodeSettled(tokenIds)
    const end = this.endIn(settled)
    return this.give(settled, end ?? settled.length - this.begun(settled))
  }

  /** The same, when no more tokens come. */
  rest(tokenIds: readonly number[]): string {
    if (this.stopped) return ''
    const whole = this.tokenizer.decode(tokenIds)
    return this.give(whole, this.endIn(whole) ?? whole.length)
  }

  private give(text: string, end: number): string {
    const piece = text.slice(this.text.length, end)
    this.text += piece
    return piece
  }

  /** Where the first stop string stands. What was given holds none. */
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
