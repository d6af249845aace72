import type { FormatError } from '../../core/errors.ts'
import { pathPattern } from './pathPattern.ts'

/** What compressed-tensors names layers by: a path, `re:` and a pattern for its beginning, or a class. */
export interface Target<T> {
  readonly text: string
  readonly value: T
}

/**
 * What finds the value of the target that fits a layer best: its path, else a pattern, else its class; of two
 * alike the first in the order of characters. A target that is given twice has its last value.
 * Source: compressed-tensors 0.20, utils/match.py, `match_targets`.
 * @param error makes the error for a target whose pattern is none
 */
export function targetMatcher<T>(
  targets: readonly Target<T>[],
  error: (text: string) => FormatError,
): (path: string, typeName: string) => T | undefined {
  const values = new Map(targets.map(({ text, value }) => [text, value]))
  const patterns = [...values.keys()]
    .filter((text) => text.startsWith('re:'))
    .sort()
    .map((text) => ({ text, pattern: patternOf(text, error) }))
  return (path, typeName) => {
    const found = patterns.find(({ pattern }) => pattern.test(path))
    // Every class of layers extends Module.
    const names = [path, ...(found ? [found.text] : []), ...[typeName, 'Module'].sort()]
    const name = names.find((one) => values.has(one))
    return name === undefined ? undefined : values.get(name)
  }
}

function patternOf(text: string, error: (text: string) => FormatError): RegExp {
  const pattern = pathPattern(text.slice('re:'.length))
  if (!pattern) throw error(text)
  return pattern
}
