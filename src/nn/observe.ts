import type { Tensor } from '../tensor/tensor.ts'

/** What is told of the forward passes of a module. */
export interface ForwardWatcher {
  /** Before the pass: what it takes. */
  input?(args: readonly unknown[]): void
  /** Within the pass of a quantized twin: what it computed, before that is quantized. */
  computed?(y: Tensor): void
  /** After the pass: what it gives, and what it took. */
  output?(y: unknown, args: readonly unknown[]): void
}

/** Ends an observation: called, or at the end of a block that it was made in by `using`. */
export interface Observation {
  (): void
  [Symbol.dispose](): void
}

/** What a module computes in place of its `forward`, which it is given, as it is given what that takes. */
export type Shadow = (forward: (...args: unknown[]) => unknown, args: readonly unknown[]) => unknown

interface Watch {
  readonly watchers: Set<ForwardWatcher>
  /** The last one computes in place of `forward`. */
  readonly shadows: Shadow[]
  /** Puts back the `forward` that the module had. */
  restore(): void
}

/** The modules that have watchers. */
const watches = new WeakMap<object, Watch>()

/** See `Module.observe`. */
export function observe(module: object, watcher: ForwardWatcher): Observation {
  const watch = watches.get(module) ?? watchForward(module)
  watch.watchers.add(watcher)
  return ending(module, watch, () => watch.watchers.delete(watcher))
}

/**
 * Puts `instead` in the place of a module's `forward` until the returned function is called; watchers see
 * what it takes and gives.
 */
export function shadow(module: object, instead: Shadow): Observation {
  const watch = watches.get(module) ?? watchForward(module)
  watch.shadows.push(instead)
  return ending(module, watch, () => {
    const place = watch.shadows.lastIndexOf(instead)
    return place >= 0 && watch.shadows.splice(place, 1).length > 0
  })
}

/** Ends what `remove` takes away, and with the last of a module puts its `forward` back. */
function ending(module: object, watch: Watch, remove: () => boolean): Observation {
  const end = () => {
    if (!remove() || watch.watchers.size + watch.shadows.length > 0) return
    watches.delete(module)
    watch.restore()
  }
  return Object.assign(end, { [Symbol.dispose]: end })
}

/** Tells a module's watchers what it computed, before that is quantized. */
export function tellComputed(module: object, y: Tensor): void {
  for (const watcher of watches.get(module)?.watchers ?? []) watcher.computed?.(y)
}

/**
 * From now on the module's watchers hear of each call of `forward`, by a property of its own in front of the
 * one that it had.
 */
function watchForward(module: object): Watch {
  const watchers = new Set<ForwardWatcher>()
  const shadows: Shadow[] = []
  const forward: unknown = Reflect.get(module, 'forward')
  const found = Object.getOwnPropertyDescriptor(module, 'forward')
  function watched(this: unknown, ...args: unknown[]): unknown {
    for (const watcher of [...watchers]) watcher.input?.(args)
    const own = (...taken: unknown[]): unknown => Reflect.apply(forward as () => unknown, this, taken)
    const instead = shadows.at(-1)
    const y = instead ? instead(own, args) : own(...args)
    for (const watcher of [...watchers]) watcher.output?.(y, args)
    return y
  }
  const restore = () => {
    // What a user put over it since stays, and reaches the old one through it.
    if (Reflect.get(module, 'forward') !== watched) return
    if (found) Object.defineProperty(module, 'forward', found)
    else Reflect.deleteProperty(module, 'forward')
  }
  const property = {
    configurable: true,
    enumerable: found?.enumerable ?? false,
    writable: true,
    value: watched,
  }
  if (typeof forward === 'function') Object.defineProperty(module, 'forward', property)
  const watch = { watchers, shadows, restore }
  watches.set(module, watch)
  return watch
}
