/**
 * Spaces that decoding removes, in this order, each wherever it stands. Source: transformers,
 * `clean_up_tokenization`.
 */
const rules = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
] as const

/** The last character that stands in no rule: no replacement reaches over it. */
const lastOther = /[^ .?!,'ntmsvre](?=[ .?!,'ntmsvre]*$)/

/** Text without the spaces that WordPiece leaves before punctuation. */
export function cleanUp(text: string): string {
  return rules.reduce((cleaned, [from, to]) => cleaned.replaceAll(from, to), text)
}

/** The same of a text that comes in pieces: as much of it as more text could not change. */
export class CleanUpStream {
  /** What is not settled, and how many characters of it, cleaned up, were told. */
  private held = ''
  private told = 0

  add(piece: string): string {
    this.held += piece
    const at = this.held.search(lastOther)
    let text = ''
    if (at >= 0) {
      text = cleanUp(this.held.slice(0, at + 1)).slice(this.told)
      this.held = this.held.slice(at + 1)
      this.told = 0
    }
    const settled = settledOf(this.held)
    text += settled.slice(this.told)
    this.told = Math.max(this.told, settled.length)
    return text
  }

  /** What was held back, once no more text comes. */
  end(): string {
    const text = cleanUp(this.held).slice(this.told)
    this.held = ''
    this.told = 0
    return text
  }
}

/** A text that is cleaned up, to where more text behind it could change it. */
function settledOf(text: string): string {
  return rules.reduce((settled, [from, to]) => {
    const cleaned = settled.replaceAll(from, to)
    return cleaned.slice(0, cleaned.length - begunAtEnd(cleaned, from))
  }, text)
}

/** How many characters at the end of `text` begin `pattern`, without completing it. */
function begunAtEnd(text: string, pattern: string): number {
  for (let length = Math.min(pattern.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(pattern.slice(0, length))) return length
  }
  return 0
}
