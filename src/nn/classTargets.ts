import { ShapeError } from '../core/errors.ts'
import { aList, check, either } from '../core/kinds.ts'
import { keep } from '../tensor/scope.ts'
import { aTensor, checkDType, Tensor } from '../tensor/tensor.ts'

/** Class indices on a device, as a loss took them. */
export interface ClassTargets {
  operation: string
  /** [rows] int32 */
  targets: Tensor
  classes: number
  ignoreIndex: number
}

const someTargets = either('be a tensor or a list of class indices', aTensor, aList)

/** Where `noteTargets` puts what it is given, while `withTargets` runs. */
let noted: ClassTargets[] | null = null

/**
 * Runs `body` and gives, beside its result, the targets that losses in it took from a device; they are to be
 * disposed.
 */
export function withTargets<R>(body: () => R): { result: R; taken: ClassTargets[] } {
  const outer = noted
  const taken: ClassTargets[] = []
  noted = taken
  try {
    return { result: body(), taken }
  } catch (error) {
    for (const { targets } of taken) targets.dispose()
    throw error
  } finally {
    noted = outer
  }
}

/**
 * Remembers targets that cannot be checked without a read, for whoever finds the loss not finite. On a device
 * one out of range makes the loss NaN, since nothing but a read waits.
 */
export function noteTargets({ targets, ...rest }: ClassTargets): void {
  noted?.push({ ...rest, targets: keep(targets.detach()) })
}

/** Resolves to what is wrong with targets that were taken from a device; null if they are in range. */
export async function wrongTarget(taken: readonly ClassTargets[]): Promise<string | null> {
  for (const { operation, targets, classes, ignoreIndex } of taken) {
    const wrong = outOfRange(await targets.toNumbers(), classes, ignoreIndex)
    if (wrong) return `targets of ${operation} ${wrong}`
  }
  return null
}

/**
 * Class indices as a tensor [rows] int32 on the device of x; those given as numbers are checked.
 * @param x [rows, C]
 * @throws ShapeError unless there is one for each row, in 0..C−1 or `ignoreIndex`
 */
export function targetTensor(
  operation: string,
  x: Tensor,
  target: Tensor | ArrayLike<number>,
  ignoreIndex: number,
): Tensor {
  check(operation, 'target', target, someTargets)
  const [rows, classes] = x.shape
  const count = target instanceof Tensor ? target.numel : target.length
  if (count !== rows) throw new ShapeError(`${operation}: needs ${rows} targets; received ${count}`)
  if (target instanceof Tensor) {
    checkDType(operation, 'target', target, 'int32')
    return target.view([rows])
  }
  const wrong = outOfRange(target, classes, ignoreIndex)
  if (wrong) throw new ShapeError(`${operation}: targets ${wrong}`)
  return Tensor.fromArray(x.device, Int32Array.from(target))
}

function outOfRange(target: ArrayLike<number>, classes: number, ignoreIndex: number): string | null {
  for (let i = 0; i < target.length; i++) {
    const label = target[i]
    if (label !== ignoreIndex && !(Number.isInteger(label) && label >= 0 && label < classes))
      return `must lie in 0..${classes - 1} or be ${ignoreIndex}; received ${label} at ${i}`
  }
  return null
}
