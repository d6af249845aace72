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

/**
 * Text without the spaces that WordPiece leaves before punctuation.
 * @returns the whole, and its beginning up to where more text behind it could change it
 */
export function cleanUp(text: string): { whole: string; settled: string } {
  let [whole, settled] = [text, text]
  for (const [from, to] of rules) {
    whole = whole.replaceAll(from, to)
    settled = settled.replaceAll(from, to)
    settled = settled.slice(0, settled.length - begunAtEnd(settled, from))
  }
  return { whole, settled }
}

/** How many characters at the end of `text` begin `pattern`, without completing it. */
function begunAtEnd(text: string, pattern: string): number {
  for (let length = Math.min(pattern.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(pattern.slice(0, length))) return length
  }
  return 0
}
