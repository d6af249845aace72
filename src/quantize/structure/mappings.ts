import { ShapeError } from '../../core/errors.ts'
import { aString, either, isObject, type Kind, listOf } from '../../core/kinds.ts'
import { globMatcher } from '../glob.ts'
import type { Feed } from './feeds.ts'

/** What gives channels, and the layers that take them, by globs of their paths or `re:` and an expression. */
export interface ScalingMapping {
  smoothLayer: string
  balanceLayers: string | readonly string[]
}

/** Some mappings, as llm-compressor has them. */
export const someMappings: Kind = {
  must: 'be a list of { smoothLayer, balanceLayers }, globs or re: and an expression',
  holds: (value) =>
    Array.isArray(value) &&
    value.length > 0 &&
    value.every(
      (one) => isObject(one) && aString.holds(one.smoothLayer) && somePatterns.holds(one.balanceLayers),
    ),
}

const somePatterns = either('be a pattern or a list of them', aString, listOf('patterns', aString))

/**
 * Of what feeds what, as much as the mappings ask for.
 * @throws ShapeError if one matches nothing, or leaves out a layer that takes the channels, too
 */
export function mappedFeeds(
  operation: string,
  feeds: readonly Feed[],
  mappings: readonly ScalingMapping[],
): Feed[] {
  const found = new Set<Feed>()
  for (const { smoothLayer, balanceLayers } of mappings) {
    const [isFrom, isTo] = [pathMatcher([smoothLayer]), pathMatcher([balanceLayers].flat())]
    const matching = feeds.filter(({ from, to }) => isFrom(from) && to.some(isTo))
    if (matching.length === 0)
      throw new ShapeError(
        `${operation}: a mapping must match what feeds layers, and all of these; ${smoothLayer} feeds none of ${[balanceLayers].flat().join(', ')} through which a factor passes`,
      )
    for (const feed of matching) {
      const missing = feed.to.find((path) => !isTo(path))
      if (missing)
        throw new ShapeError(
          `${operation}: balanceLayers must name all layers that take the channels of ${feed.from}; ${missing} does, too`,
        )
      found.add(feed)
    }
  }
  return [...found]
}

/** Matches paths by any of some patterns. */
function pathMatcher(patterns: readonly string[]): (path: string) => boolean {
  const expressions = patterns.filter((pattern) => pattern.startsWith('re:'))
  const globs = globMatcher(patterns.filter((pattern) => !pattern.startsWith('re:')))
  const matchers = expressions.map((pattern) => new RegExp(`^(?:${pattern.slice('re:'.length)})`))
  return (path) => globs(path) || matchers.some((matcher) => matcher.test(path))
}
