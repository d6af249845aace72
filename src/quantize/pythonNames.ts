import { DTypeError, ShapeError } from '../core/errors.ts'
import { isObject, show } from '../core/kinds.ts'

/**
 * Options by lowbit's names, where they may be given by those of a Python library, too.
 * @param names lowbit's name of each of the library's
 * @throws DTypeError if they are no object, ShapeError if one is given twice
 */
export function inOurNames(
  operation: string,
  options: unknown,
  names: Readonly<Record<string, string>>,
): Record<string, unknown> {
  if (!isObject(options)) throw new DTypeError(`${operation} must be an object; received ${show(options)}`)
  const named: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(options)) {
    const name = Object.hasOwn(names, key) ? names[key] : key
    if (Object.hasOwn(named, name))
      throw new ShapeError(`${operation}: ${name} must be given once; received ${key}, too`)
    named[name] = value
  }
  return named
}
