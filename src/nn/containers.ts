/**
 * What a model may hold its modules and tensors in: lists, plain objects and Maps. A Set has no names to
 * give, but is looked into.
 */
type Container =
  | readonly unknown[]
  | Record<string, unknown>
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>

/** An object in a container, or a property of a module. */
export interface Entry {
  /** Its part of a path; null where the container gives it no name that a path could have. */
  name: string | null
  value: object
  /** Puts another in its place. */
  put(value: unknown): void
}

/** Whether a value is a list, a plain object, a Map or a Set. */
export function isContainer(value: unknown): value is Container {
  if (Array.isArray(value) || value instanceof Map || value instanceof Set) return true
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** The objects that a container or module holds, in order; numbers, strings and functions are passed over. */
export function* entriesOf(holder: object): Generator<Entry> {
  if (holder instanceof Set) {
    for (const value of holder) if (isObject(value)) yield { name: null, value, put: () => {} }
  } else if (holder instanceof Map) {
    for (const [key, value] of holder)
      if (isObject(value)) yield { name: nameOf(key), value, put: (other) => holder.set(key, other) }
  } else if (Array.isArray(holder)) {
    // A loop over indices: a list of a million numbers is passed over quickly.
    for (let i = 0; i < holder.length; i++) {
      const value: unknown = holder[i]
      if (isObject(value)) yield { name: String(i), value, put: (other) => Reflect.set(holder, i, other) }
    }
  } else {
    for (const [key, value] of Object.entries(holder))
      if (isObject(value)) yield { name: nameOf(key), value, put: (other) => Reflect.set(holder, key, other) }
  }
}

/**
 * A copy of a container or module, of the same class, with `copyOf` what it holds; `known` is told of it
 * first, since it may hold itself.
 */
export function copyHolder(
  holder: object,
  copyOf: (value: unknown) => unknown,
  known: Map<unknown, unknown>,
): object {
  if (holder instanceof Map) {
    const copy = new Map<unknown, unknown>()
    known.set(holder, copy)
    for (const [key, value] of holder) copy.set(key, copyOf(value))
    return copy
  }
  const copy = Array.isArray(holder) ? [] : Object.create(Object.getPrototypeOf(holder))
  known.set(holder, copy)
  for (const [key, value] of Object.entries(holder)) copy[key] = copyOf(value)
  return copy
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** Dots join the names of a path. */
function nameOf(key: unknown): string | null {
  if (typeof key === 'number') return String(key)
  return typeof key === 'string' && key !== '' && !key.includes('.') ? key : null
}
