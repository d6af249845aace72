import { ShapeError } from './errors.ts'
import { anyOf } from './lists.ts'

/** What an argument or an option must be. */
export interface Kind {
  /** What holds of it, after "must": `be a whole number, 0 or more`. */
  readonly must: string
  readonly holds: (value: unknown) => boolean
  /** The class of the error where it does not hold; default `ShapeError`. */
  readonly error?: new (
    message: string,
  ) => Error
}

/** @throws the kind's error unless `value` is of the kind */
export function check(
  operation: string,
  name: string,
  value: unknown,
  { must, holds, error = ShapeError }: Kind,
): void {
  if (!holds(value)) throw new error(`${operation}: ${name} must ${must}; received ${show(value)}`)
}

/** Checks several values of one kind by their names. */
export function checkEach(operation: string, values: Readonly<Record<string, unknown>>, kind: Kind): void {
  for (const name in values) check(operation, name, values[name], kind)
}

export const aBoolean: Kind = { must: 'be true or false', holds: (value) => typeof value === 'boolean' }
export const aFunction: Kind = { must: 'be a function', holds: (value) => typeof value === 'function' }
export const aString: Kind = { must: 'be a string', holds: (value) => typeof value === 'string' }
export const aNumber: Kind = { must: 'be a finite number', holds: (value) => Number.isFinite(value) }
export const anObject: Kind = { must: 'be an object', holds: isObject }
export const aSignal: Kind = {
  must: "be an AbortController's signal",
  holds: (value) => isObject(value) && 'throwIfAborted' in value && 'aborted' in value,
}
/** What `for of` or `for await` walks over, strings excluded. */
export const anIterable: Kind = {
  must: 'be a list or another iterable',
  holds: (value) =>
    typeof value === 'object' &&
    value !== null &&
    (Symbol.iterator in value || Symbol.asyncIterator in value),
}

/** A whole number from `least` to `most`. */
export function wholeNumber(least: number, most = Infinity): Kind {
  const range = least === -Infinity ? '' : most === Infinity ? `, ${least} or more` : ` in ${least}..${most}`
  const must = `be a whole number${range}`
  return {
    must,
    holds: (value) => Number.isInteger(value) && Number(value) >= least && Number(value) <= most,
  }
}

/** A finite number, `least` or more. */
export function atLeast(least: number): Kind {
  return {
    must: `be a number, ${least} or more`,
    holds: (value) => Number.isFinite(value) && Number(value) >= least,
  }
}

/** A finite number above `low`. */
export function above(low: number): Kind {
  return { must: `be a number above ${low}`, holds: (value) => Number.isFinite(value) && Number(value) > low }
}

/** A number from `low` to `high`, without the one that is `excluded`. */
export function within(low: number, high: number, { excluded }: { excluded?: number } = {}): Kind {
  const holds = (value: unknown) =>
    typeof value === 'number' && value >= low && value <= high && value !== excluded
  return { must: `lie in ${low}..${high}${excluded === undefined ? '' : `, ${excluded} excluded`}`, holds }
}

/** One of these names. */
export function oneOf(...names: readonly string[]): Kind {
  return { must: `be ${anyOf(names)}`, holds: (value) => names.some((name) => name === value) }
}

/** One of several kinds, in words of its own. */
export function either(must: string, ...kinds: readonly Kind[]): Kind {
  return { must, holds: (value) => kinds.some((kind) => kind.holds(value)), error: kinds[0].error }
}

/** What a kind says, or null. */
export function orNull(kind: Kind): Kind {
  return { ...kind, must: `${kind.must}, or null`, holds: (value) => value === null || kind.holds(value) }
}

/** An array, or a typed one. */
export const aList: Kind = { must: 'be a list', holds: isList }

function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && 'length' in value)
}

/** A list of `length` items if that is given; `items` names them: `whole numbers`. */
export function listOf(items: string, kind: Kind, length?: number): Kind {
  return {
    ...kind,
    must: `be a list of ${length === undefined ? '' : `${length} `}${items}`,
    holds: (value) =>
      isList(value) &&
      (length === undefined || value.length === length) &&
      Array.prototype.every.call(value, kind.holds),
  }
}

/** An instance of a class, in words: `be a device, as openDevice gives it`. */
export function instanceOf(
  type: abstract new (...args: never[]) => unknown,
  must: string,
  error?: Kind['error'],
): Kind {
  return { must, holds: (value) => value instanceof type, error }
}

/** Whether `value` is an object that is no list. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What messages say was received: `"awq"`, `1.5`, `[1,2]`, `a Tensor`. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value)
  if (typeof value === 'function') return value.name === '' ? 'a function' : `the function ${value.name}`
  if (Array.isArray(value)) return showList(value)
  if (typeof value !== 'object' || value === null)
    return typeof value === 'bigint' ? `${value}n` : String(value)
  const name: unknown = value.constructor?.name
  if (typeof name !== 'string' || name === '' || name === 'Object') return 'an object'
  return `${/^[AEIOU]/.test(name) ? 'an' : 'a'} ${name}`
}

/** A list of few plain values, else how many it has. */
function showList(values: readonly unknown[]): string {
  const plain =
    values.length <= 8 && values.every((value) => typeof value === 'number' || typeof value === 'string')
  return plain ? `[${values.map(show).join(',')}]` : `a list of ${values.length}`
}
