import { ShapeError } from '../core/errors.ts'
import { checkBody, deferScopes, resumeScopes } from './scope.ts'
import type { Tensor } from './tensor.ts'

/**
 * From the gradient of an operation's output to those of its inputs, in their order; null where an input gets
 * none.
 */
export type Gradients = (dy: Tensor) => readonly (Tensor | null)[]

/** One operation that ran: what a gradient passes through on its way back. */
export interface TapeEntry {
  readonly y: Tensor
  readonly inputs: readonly (Tensor | null)[]
  readonly gradients: Gradients
}

/** The way back: adds the gradient of a loss to what it was computed from. */
type Propagate = (tape: Tape, loss: Tensor) => void

/** The operations that a body ran on tensors that need gradients, in order. */
export class Tape {
  readonly entries: TapeEntry[] = []
  private readonly outputs = new Set<Tensor>()
  /** What `loss.backward()` does. */
  readonly propagate: Propagate

  constructor(propagate: Propagate) {
    this.propagate = propagate
  }

  /** Whether a gradient has to reach x: a parameter that asks for it, or what was computed from one. */
  needs(x: Tensor): boolean {
    return x.requiresGrad || this.outputs.has(x)
  }

  add(entry: TapeEntry): void {
    this.entries.push(entry)
    this.outputs.add(entry.y)
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

/** Forgets the way back through what was computed from x, whose values change now. */
export function noteChange(x: Tensor): void {
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

/**
 * Whether a gradient will be asked for x, so that an operation has to be recorded or its intermediate values
 * kept.
 */
export function needsGrad(x: Tensor | null): boolean {
  return x !== null && (running?.needs(x) ?? false)
}

/**
 * Notes on the running tape, if a gradient has to reach one of `inputs`, how it does; every operation calls
 * it last. `gradients` runs without a tape and may use inputs and output; it need not compute what
 * `needsGrad` denied.
 * @returns y
 */
export function record(y: Tensor, inputs: readonly (Tensor | null)[], gradients: Gradients): Tensor {
  if (running && inputs.some(needsGrad)) running.add({ y, inputs, gradients })
  return y
}
