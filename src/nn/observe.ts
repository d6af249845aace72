import type { Tensor } from '../tensor/tensor.ts'

/** What is told of the forward passes of a module. */
export interface ForwardObserver {
  /** Before the pass: what it takes. */
  input?(args: readonly unknown[]): void
  /** Within the pass of a quantized twin: what it computed, before that is quantized. */
  computed?(y: Tensor): void
  /** After the pass: what it gives, and what it took. */
  output?(y: unknown, args: readonly unknown[]): void
}

/** Ends an observation: called, or at the end of a block that it was made in by `using`. */
export interface Observation extends Disposable {
  (): void
}

interface Watch {
  readonly observers: Set<ForwardObserver>
  /** Puts back the `forward` that the module had. */
  restore(): void
}

/** The modules that have observers. */
const watches = new WeakMap<object, Watch>()

/** See `Module.observe`. */
export function observe(module: object, observer: ForwardObserver): Observation {
  const watch = watches.get(module) ?? watchForward(module)
  watch.observers.add(observer)
  const end = () => {
    if (!watch.observers.delete(observer) || watch.observers.size > 0) return
    watches.delete(module)
    watch.restore()
  }
  return Object.assign(end, { [Symbol.dispose]: end })
}

/** Tells a module's observers what it computed, before that is quantized. */
export function tellComputed(module: object, y: Tensor): void {
  for (const observer of watches.get(module)?.observers ?? []) observer.computed?.(y)
}

/** From now on the module's observers hear of each call of `forward`, by a property of its own in front of the one that it had. */
function watchForward(module: object): Watch {
  const observers = new Set<ForwardObserver>()
  const forward: unknown = Reflect.get(module, 'forward')
  const found = Object.getOwnPropertyDescriptor(module, 'forward')
  function watched(this: unknown, ...args: unknown[]): unknown {
    for (const observer of [...observers]) observer.input?.(args)
    const y: unknown = Reflect.apply(forward as () => unknown, this, args)
    for (const observer of [...observers]) observer.output?.(y, args)
    return y
  }
  const restore = () => {
    // What a user put over it since stays, and reaches the old one through it.
    if (Reflect.get(module, 'forward') !== watched) return
    if (found) Object.defineProperty(module, 'forward', found)
    else Reflect.deleteProperty(module, 'forward')
  }
  const property = { configurable: true, enumerable: found?.enumerable ?? false, writable: true, value: watched }
  if (typeof forward === 'function') Object.defineProperty(module, 'forward', property)
  const watch = { observers, restore }
  watches.set(module, watch)
  return watch
}
