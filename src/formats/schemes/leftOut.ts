import { type JsonObject, show } from '../json.ts'
import { pathPattern } from './pathPattern.ts'

/**
 * Whether a path is named in a list: it begins with a name or pattern that ends where a part of the path
 * does, or ends with a name.
 * Source: transformers 5, quantizers_utils.py, `should_convert_module`.
 */
export function leftOut(config: JsonObject, key: string): (path: string) => boolean {
  const names = config.strings(key, [])
  const patterns = names.map((name) => {
    const pattern = pathPattern(`(?:${name})(?:(?<=\\.)|(?=\\.|$))`)
    if (!pattern) throw config.error(key, `must have names or regular expressions; ${show(name)} is none`)
    return pattern
  })
  return (path) => patterns.some((pattern) => pattern.test(path)) || names.some((name) => path.endsWith(name))
}
