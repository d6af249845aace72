/** Escapes of Python's that JavaScript has not, and would take for the letters. */
const pythonEscape = /(?<!\\)(?:\\\\)*\\[AZaUN]/

/**
 * A pattern of Python's that names layers: as `re.match`, from the start of a path and as far as it likes.
 * @returns null where the text is no pattern, or one that JavaScript has not: `\A`, `\Z`, `(?P<name>…)`
 */
export function pathPattern(text: string): RegExp | null {
  if (pythonEscape.test(text)) return null
  // Whole characters; Python allows more escapes, as `\-`, than JavaScript has with them.
  return compile(text, 'su') ?? compile(text, 's')
}

function compile(text: string, flags: string): RegExp | null {
  try {
    return new RegExp(`^(?:${text})`, flags)
  } catch {
    return null
  }
}
