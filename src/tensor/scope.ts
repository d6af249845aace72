import { ShapeError } from '../core/errors.ts'
import { show } from '../core/kinds.ts'

/** Something that holds device memory and can give it back: a tensor. */
export interface Owned {
  dispose(): void
}

/** Something made of tensors: a quantized tensor. */
export interface Holder {
  tensors(): Iterable<Owned>
}

let current: Set<Owned> | undefined
/** While a tape runs, scopes dispose nothing: the way back needs what the way forward computed. */
let deferred = false

/** Runs `body` with scopes inside it ended together with the one around. */
export function deferScopes<R>(body: () => R): R {
  return withDeferred(true, body)
}

/** Runs `body` with scopes inside it ended where they end. */
export function resumeScopes<R>(body: () => R): R {
  return withDeferred(false, body)
}

function withDeferred<R>(value: boolean, body: () => R): R {
  const outer = deferred
  deferred = value
  try {
    return body()
  } finally {
    deferred = outer
  }
}

/**
 * Disposes a tensor now that the running scope would dispose at its end; leaves one that was kept, or that
 * the way back of a tape may need.
 */
export function release(owned: Owned): void {
  if (!deferred && current?.delete(owned)) owned.dispose()
}

/** Notes `owned` as belonging to the scope that is running, if any. */
export function track(owned: Owned): void {
  current?.add(owned)
}

/**
 * Takes tensors (as `scope` finds them in a result) out of the running scope: they live until they are
 * disposed by hand.
 */
export function keep<T>(value: T): T {
  for (const owned of ownedIn(value)) current?.delete(owned)
  return value
}

/**
 * Runs `body` and disposes every tensor made in it but those it returns (alone, in an array, or as values of
 * an object), which pass to the enclosing scope. `body` must be synchronous: nothing but reading waits, and
 * reading belongs outside.
 */
export function scope<R>(body: () => R): R {
  checkBody('scope', body)
  if (deferred) return body()
  const outer = current
  const own = new Set<Owned>()
  current = own
  let result: R
  try {
    result = body()
  } catch (error) {
    current = outer
    for (const owned of own) owned.dispose()
    throw error
  }
  current = outer
  for (const owned of ownedIn(result)) if (own.delete(owned)) track(owned)
  for (const owned of own) owned.dispose()
  return result
}

const AsyncFunction = (async () => {}).constructor

/**
 * @throws ShapeError unless `body` is a function that does not wait: what comes after an await runs when the
 * scope or tape has ended
 */
export function checkBody(operation: string, body: unknown): void {
  if (typeof body !== 'function')
    throw new ShapeError(`${operation}: body must be a function; received ${show(body)}`)
  if (body.constructor === AsyncFunction)
    throw new ShapeError(
      `${operation}: body must be synchronous, with what waits outside; received an async function`,
    )
}

/** The tensors of a result: alone, in an array, or as values of an object. */
export function ownedIn(value: unknown, found: Owned[] = []): Owned[] {
  if (typeof value !== 'object' || value === null) return found
  // Every scope and every operation on a tape looks through its result: no generators.
  if ('tensors' in value && typeof value.tensors === 'function') found.push(...(value as Holder).tensors())
  else if ('dispose' in value && typeof value.dispose === 'function') found.push(value as Owned)
  else if (Array.isArray(value)) for (const item of value) ownedIn(item, found)
  else if (Object.getPrototypeOf(value) === Object.prototype)
    for (const item of Object.values(value)) ownedIn(item, found)
  return found
}
