/**
 * A pattern of Python's that names layers: as `re.match`, from the start of a path and as far as it likes.
 * @returns null where the text is no pattern
 */
export function pathPattern(text: string): RegExp | null {
  try {
    return new RegExp(`^(?:${text})`, 's')
  } catch {
    return null
  }
}
