/**
 * A token that is looked for in the text before anything else is done with it, as tokenizer.json lists it.
 */
export interface AddedToken {
  readonly id: number
  readonly content: string
  /** Whether it must not stand inside a word. */
  readonly single_word?: boolean
  /** Whether it takes the spaces before it, and after it. */
  readonly lstrip?: boolean
  readonly rstrip?: boolean
  /** Whether it is looked for in normalized text. */
  readonly normalized?: boolean
  /** Whether text leaves it out. */
  readonly special?: boolean
}

/** Text between added tokens, or one of them. */
export type Piece = string | AddedToken

const wordAtEnd = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u
const wordAtStart = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u
const space = /\p{White_Space}/u

/**
 * Cuts text at added tokens: at the first that matches, the longest of those that begin there.
 * Our own code, since `@huggingface/tokenizers` ignores `single_word`; its parts do the rest.
 * Source: tokenizers, tokenizer/added_vocabulary.rs, `find_matches`.
 */
export class AddedTokens {
  /** By what is searched for, the longest first, under their first UTF-16 unit. */
  private readonly byStart = new Map<string, [text: string, token: AddedToken][]>()

  /** @param textOf what is searched for a token: its content, or that normalized */
  constructor(
    tokens: readonly AddedToken[],
    textOf: (token: AddedToken) => string = ({ content }) => content,
  ) {
    for (const token of tokens) {
      const text = textOf(token)
      if (text === '') continue
      const others = this.byStart.get(text[0])
      if (others) others.push([text, token])
      else this.byStart.set(text[0], [[text, token]])
    }
    for (const entries of this.byStart.values()) entries.sort(([a], [b]) => b.length - a.length)
  }

  /** @param skips which of them are left in the text, as what they are found in */
  split(text: string, skips: (token: AddedToken) => boolean = () => false): Piece[] {
    if (this.byStart.size === 0) return text === '' ? [] : [text]
    const pieces: Piece[] = []
    /** Where the text begins that is no piece yet. */
    let rest = 0
    for (let at = 0; at < text.length; at++) {
      const match = this.byStart.get(text[at])?.find(([searched]) => text.startsWith(searched, at))
      if (!match) continue
      const [searched, token] = match
      let [start, end] = [at, at + searched.length]
      at = end - 1
      if (skips(token) || (token.single_word && isInWord(text, start, end))) continue
      if (token.lstrip) while (start > rest && space.test(text[start - 1])) start--
      if (token.rstrip) while (end < text.length && space.test(text[end])) end++
      if (rest < start) pieces.push(text.slice(rest, start))
      pieces.push(token)
      rest = end
      at = end - 1
    }
    if (rest < text.length) pieces.push(text.slice(rest))
    return pieces
  }
}

/** Whether a letter stands right before or after text[start … end]. */
function isInWord(text: string, start: number, end: number): boolean {
  return (
    wordAtEnd.test(text.slice(Math.max(0, start - 2), start)) || wordAtStart.test(text.slice(end, end + 2))
  )
}
