import { ShapeError } from '../core/errors.ts'
import { checkBody, deferScopes, ownedIn, resumeScopes } from './scope.ts'
import type { Tensor } from './tensor.ts'

/** The gradient of one argument: a list for a list of tensors; null or nothing where it gets none. */
export type Gradient = Tensor | null | undefined | readonly (Tensor | null)[]

/** What gradients of an operation are computed from. */
export interface Way<Y> {
  /** The gradient of what it gave: of the first, where that is several tensors. */
  readonly dy: Tensor
  /** What it gave. */
  readonly y: Y
  /** Whether a gradient is asked for an argument; that of another need not be computed. */
  needs(arg: unknown): boolean
}

/**
 * From the gradient of an operation's result to those of its arguments, in their order. It runs without a
 * tape.
 */
export type Gradients<Args extends readonly unknown[], Y> = (
  way: Way<Y>,
  ...args: Args
) => readonly Gradient[]

/** One operation that ran: what a gradient passes through on its way back. */
export interface TapeEntry {
  readonly args: readonly unknown[]
  readonly y: unknown
  /** The tensor of it that has a gradient. */
  readonly result: Tensor
  readonly gradients: (...all: unknown[]) => readonly Gradient[]
}

/** The way back: adds the gradient of a loss to what it was computed from. */
type Propagate = (tape: Tape, loss: Tensor) => void

/**
 * The operations that a body ran on tensors that need gradients, in order. It runs where it is asked for, in
 * `backward` and `enableGrad`, though parameters ask for gradients once they are initialized: everywhere else
 * scopes give back at once what layers compute on the way, and quantized layers compute in integers.
 */
export class Tape {
  readonly entries: TapeEntry[] = []
  private readonly outputs = new Set<unknown>()
  /** What `loss.backward()` does. */
  readonly propagate: Propagate

  constructor(propagate: Propagate) {
    this.propagate = propagate
  }

  /** Whether a gradient has to reach x: a parameter that asks for it, or what was computed from one. */
  readonly needs = (x: unknown): boolean => {
    if (typeof x !== 'object' || x === null) return false
    return (x as Partial<Tensor>).requiresGrad === true || this.outputs.has(x)
  }

  /** Notes an operation that ran: only the first tensor of what it gave has a gradient. */
  add(args: readonly unknown[], y: unknown, gradients: TapeEntry['gradients']): void {
    const result = ownedIn(y)[0] as Tensor
    this.entries.push({ args, y, result, gradients })
    this.outputs.add(result)
  }
}

let running: Tape | undefined

/**
 * Runs `body` with every operation on a new tape; nothing that it makes is disposed before the scope around
 * ends.
 */
export function taped<R>(propagate: Propagate, body: () => R): { tape: Tape; result: R } {
  const outer = running
  const tape = new Tape(propagate)
  running = tape
  try {
    return { tape, result: deferScopes(body) }
  } finally {
    running = outer
  }
}

/**
 * The way back from a loss on the tape that runs.
 * @throws ShapeError if none does
 */
export function backwardFrom(loss: Tensor): void {
  if (running) running.propagate(running, loss)
  else {
    const ways = 'backward(() => loss) or enableGrad(() => { …; loss.backward() })'
    throw new ShapeError(
      `backward: the loss must be computed where gradients are noted, in ${ways}; nothing notes them here`,
    )
  }
}

/** What is still to be computed, before what it is computed from is overwritten. */
const waiting = new Set<() => unknown>()

/** Calls `compute` before values are overwritten, unless what this returns was called. */
export function waitForChanges(compute: () => unknown): () => void {
  waiting.add(compute)
  return () => void waiting.delete(compute)
}

let changes = 0

/** How often values were overwritten so far: an operation that wrote somewhere has counted on. */
export function changesSoFar(): number {
  return changes
}

/** Forgets the way back through what was computed from x, whose values change now. */
export function noteChange(x: Tensor): void {
  for (const compute of waiting) compute()
  changes++
  if (running?.needs(x)) running.entries.length = 0
}

/** Runs `body` without a tape: no gradient passes through what it computes. */
export function noGrad<R>(body: () => R): R {
  checkBody('noGrad', body)
  const outer = running
  running = undefined
  try {
    return resumeScopes(body)
  } finally {
    running = outer
  }
}

/** Whether a gradient will be asked for x, so that what it is computed from must be kept. */
export function needsGrad(x: Tensor | null): boolean {
  return running?.needs(x) ?? false
}

/** The tape that runs, if a gradient has to reach one of these arguments, or one in a list of them. */
export function tapeOf(args: readonly unknown[]): Tape | undefined {
  const tape = running
  if (!tape) return undefined
  for (const arg of args) if (Array.isArray(arg) ? arg.some(tape.needs) : tape.needs(arg)) return tape
  return undefined
}
