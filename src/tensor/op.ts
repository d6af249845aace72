import { aFunction, check, type Kind } from '../core/kinds.ts'
import { type Gradients, noGrad, type TapeEntry, tapeOf } from './tape.ts'
import type { Tensor } from './tensor.ts'

/** An operation on tensors: a function with a name, of which a graph is made. */
export interface Op<Args extends readonly unknown[] = never[], Y = unknown> {
  (...args: Args): Y
  readonly name: string
  /** What its arguments are called. */
  readonly parameters: readonly string[]
}

/** What sees the operations that are called instead of their being run: a trace. */
export type Interpreter = (operation: Op, args: readonly never[]) => unknown

/**
 * What an argument that stores its values otherwise (a quantized activation) makes of an operation; undefined
 * where that is to compute on its floats.
 */
export type Handler = (...args: never[]) => Tensor | undefined

/** Handlers, each under its operation. */
export type Handlers = ReadonlyMap<unknown, Handler>

let interpreter: Interpreter | null = null

/** Runs `body` with every call of an operation handed to `next`, or with null as ever. */
export function interpreted<R>(next: Interpreter | null, body: () => R): R {
  const outer = interpreter
  interpreter = next
  try {
    return body()
  } finally {
    interpreter = outer
  }
}

/**
 * An operation, the only way by which anything is computed on tensors. A call goes to the trace that runs, if
 * one does; else to the handler of a quantized argument; else `compute` runs, and a running tape notes the
 * call.
 *
 *     export const softmax = op('softmax(x, axis)', compute, gradients)
 *
 * @param signature the name, and what the arguments are called
 * @param compute checks the arguments, makes the result, and queues kernels or calls other operations
 * @param gradients from the gradient of the result to those of the arguments. Left out, gradients pass
 * through the operations that `compute` calls. Where the result is several tensors, only the first has a
 * gradient.
 */
export function op<Args extends unknown[], Y>(
  signature: string,
  compute: (...args: Args) => Y,
  gradients?: Gradients<Args, Y>,
): Op<Args, Y> {
  check('op', 'signature', signature, aSignature)
  check('op', 'compute', compute, aFunction)
  if (gradients !== undefined) check('op', 'gradients', gradients, aFunction)
  const [name, ...parameters] = signature.split(/[(,)]/).map((part) => part.trim())
  const operation = (...args: Args): Y => {
    if (interpreter) return interpreter(operation as unknown as Op, args as unknown as never[]) as Y
    const handled = handledBy(args, operation, args)
    if (handled) return handled as Y
    const tape = gradients && tapeOf(args)
    if (!tape) return compute(...args)
    const y = noGrad(() => compute(...args))
    tape.add(args, y, gradients as unknown as TapeEntry['gradients'])
    return y
  }
  Object.defineProperties(operation, {
    name: { value: name },
    parameters: { value: parameters.filter((parameter) => parameter !== '') },
    toString: { value: () => signature },
  })
  return operation as Op<Args, Y>
}

const aSignature: Kind = {
  must: 'be a name and what its arguments are called, as softmax(x, axis)',
  holds: (value) => typeof value === 'string' && /^\w+\([\w, ]*\)$/.test(value),
}

/** What the handler of one of some arguments, or of one in a list among them, makes of the operation. */
function handledBy(
  some: readonly unknown[],
  operation: unknown,
  args: readonly unknown[],
): Tensor | undefined {
  for (const arg of some) {
    if (typeof arg !== 'object' || arg === null) continue
    const handled = Array.isArray(arg)
      ? handledBy(arg, operation, args)
      : (arg as Partial<Tensor>).handlers?.get(operation)?.(...(args as never[]))
    if (handled) return handled
  }
  return undefined
}
