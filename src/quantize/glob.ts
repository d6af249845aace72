/**
 * Matches a module path as Python's `fnmatch` does: `*` any run (dots too), `?` any one character, `[a-z]`,
 * `[!a]`.
 */
export function globMatcher(patterns: string | readonly string[]): (path: string) => boolean {
  const expressions = (typeof patterns === 'string' ? [patterns] : patterns).map(toRegExp)
  return (path) => expressions.some((expression) => expression.test(path))
}

function toRegExp(pattern: string): RegExp {
  let source = ''
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]
    const close = c === '[' ? pattern.indexOf(']', pattern[i + 1] === '!' ? i + 3 : i + 2) : -1
    if (c === '*') source += '.*'
    else if (c === '?') source += '.'
    else if (close > 0) {
      const set = pattern.slice(i + 1, close)
      const negated = set.startsWith('!')
      source += `[${negated ? '^' : ''}${(negated ? set.slice(1) : set).replace(/[\\[\]^]/g, '\\$&')}]`
      i = close
    } else source += c.replace(/[.+^${}()|[\]\\]/g, '\\$&')
  }
  return new RegExp(`^${source}$`, 's')
}
