import { ShapeError } from './errors.ts'
import { check, isObject, type Kind, show } from './kinds.ts'
import { nearest } from './nearest.ts'

/** The kind of an option that must be there. */
export interface RequiredKind extends Kind {
  readonly required: true
}

/**
 * The kinds of all options of an interface: none may lack, none be invented, and those without `?` are
 * required.
 */
export type OptionKinds<Options> = {
  readonly [Name in keyof Required<Options>]: object extends Pick<Options, Name> ? Kind : RequiredKind
}

/** An option that must be there. */
export function required(kind: Kind): RequiredKind {
  return { ...kind, required: true }
}

/**
 * Refuses options that an operation does not have, that are not what they must be, or that are missing;
 * undefined is left out.
 * @param renamed options of former versions, and what to say of them
 * @throws ShapeError, or the error of the option's kind
 */
export function checkOptions<Options extends object>(
  operation: string,
  options: Options | undefined,
  kinds: OptionKinds<Options>,
  renamed: Readonly<Record<string, string>> = {},
): void {
  const table: Readonly<Record<string, Kind>> = kinds
  const given: unknown = options === undefined ? {} : options
  if (!isObject(given)) throw notOptions(operation, kinds, options)
  const names = Object.keys(given)
  for (const name of names) {
    if (!Object.hasOwn(table, name))
      throw isPlain(given)
        ? unknownOption(operation, name, kinds, renamed)
        : notOptions(operation, kinds, given)
    if (given[name] !== undefined) check(operation, name, given[name], table[name])
  }
  // A device or a signal where options belong.
  if (names.length === 0 && !isPlain(given)) throw notOptions(operation, kinds, given)
  for (const name in table)
    if ('required' in table[name] && given[name] === undefined) check(operation, name, undefined, table[name])
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function notOptions(operation: string, kinds: object, received: unknown): ShapeError {
  const names = Object.keys(kinds)
  const must = names.length === 0 ? 'be left out' : `be an object with ${names.join(', ')}`
  return new ShapeError(`${operation}: options must ${must}; received ${show(received)}`)
}

function unknownOption(
  operation: string,
  name: string,
  kinds: object,
  renamed: Readonly<Record<string, string>>,
): ShapeError {
  const what = `${operation}: unknown option ${show(name)}`
  const names = Object.keys(kinds)
  if (Object.hasOwn(renamed, name)) return new ShapeError(`${what}; ${renamed[name]}`)
  const near = closest(name, names)
  if (near !== undefined) return new ShapeError(`${what}; did you mean "${near}"?`)
  return new ShapeError(`${what}; there are ${names.length === 0 ? 'none' : names.join(', ')}`)
}

/**
 * The option that a name was meant to be, whatever its case and its underscores; undefined if more than half
 * of it differs.
 */
function closest(name: string, names: readonly string[]): string | undefined {
  const plain = (text: string) => text.replace(/[-_]/g, '').toLowerCase()
  const known = new Map(names.map((other) => [plain(other), other]))
  const [near] = nearest(plain(name), [...known.keys()], { count: 1, limit: plain(name).length / 2 })
  return near === undefined ? undefined : known.get(near)
}
