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

interface Watch {
  readonly watchers: Set<ForwardWatcher>
  /** Puts back the `forward` that the module had. */
  restore(): void
}

/** The modules that have watchers. */
const watches = new WeakMap<object, Watch>()

/** See `Module.observe`. */
export function observe(module: object, watcher: ForwardWatcher): Observation {
  const watch = watches.get(module) ?? watchForward(module)
  watch.watchers.add(watcher)
  const end = () => {
    if (!watch.watchers.delete(watcher) || watch.watchers.size > 0) return
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
  const forward: unknown = Reflect.get(module, 'forward')
  const found = Object.getOwnPropertyDescriptor(module, 'forward')
  function watched(this: unknown, ...args: unknown[]): unknown {
    for (const watcher of [...watchers]) watcher.input?.(args)
    const y: unknown = Reflect.apply(forward as () => unknown, this, args)
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
  const watch = { watchers, restore }
  watches.set(module, watch)
  return watch
}
