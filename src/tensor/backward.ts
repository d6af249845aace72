import { ShapeError } from '../core/errors.ts'
import { showShape } from '../core/shape.ts'
import { add } from './ops/elementwise.ts'
import { checkBody, keep, type Owned, ownedIn, release, scope } from './scope.ts'
import { type Gradient, noGrad, type Tape, taped } from './tape.ts'
import { checkTensor, Tensor } from './tensor.ts'

/**
 * Runs `body` and adds the gradient of the loss that it returns to `grad` of every tensor with `requiresGrad`
 * that it was computed from.
 *
 *     const loss = backward(() => crossEntropyLoss(model.forward(x), labels))
 *
 * What `body` computes is given back to the device on the way, except what it returns: the loss, or an object
 * whose `loss` it is.
 * @throws ShapeError unless the loss is one value, computed from such a tensor
 */
export function backward<R extends Tensor | { loss: Tensor }>(body: () => R): R {
  checkBody('backward', body)
  return scope(() => {
    const { tape, result } = taped(fromLoss, body)
    const loss = result instanceof Tensor ? result : result?.loss
    checkTensor('backward', 'the loss', loss)
    const returned = new Set<unknown>(ownedIn(result))
    propagate(tape, loss, (y) => {
      if (!returned.has(y)) release(y)
    })
    return result
  })
}

/**
 * Runs `body`, in which `loss.backward()` adds gradients, as often as it is called, and an optimizer may take
 * its step.
 *
 *     const loss = enableGrad(() => {
 *       const loss = crossEntropyLoss(model.forward(x), labels)
 *       loss.backward()
 *       optimizer.step()
 *       return loss
 *     })
 *
 * It is a `scope` whose tensors all live to its end, those of scopes inside it, too; so a call should hold
 * one step. `backward` needs less memory, since it gives back on the way what has been used. `body` must be
 * synchronous.
 */
export function enableGrad<R>(body: () => R): R {
  checkBody('enableGrad', body)
  return scope(() => taped(fromLoss, body).result)
}

/** `loss.backward()`: the tape stays as it is, for other losses. */
function fromLoss(tape: Tape, loss: Tensor): void {
  propagate(tape, loss, () => {})
}

/**
 * Walks the tape from the loss to the leaves; `passed` is told each output when nothing on the way needs it
 * any more.
 */
function propagate(tape: Tape, loss: Tensor, passed: (y: Owned) => void): void {
  if (loss.numel !== 1)
    throw new ShapeError(`backward: the loss must be one value; received ${showShape(loss.shape)}`)
  if (!tape.needs(loss)) {
    const ways = 'those of initialize(model) and of an optimizer ask, others after tensor.requiresGrad = true'
    throw new ShapeError(
      `backward: the loss must be computed, here, from a tensor that asks for its gradient (${ways}); it is not`,
    )
  }
  noGrad(() => {
    const gradients = new Map([[loss, Tensor.fromNumbers(loss.device, [1], loss.shape)]])
    for (let i = tape.entries.length - 1; i >= 0; i--) {
      const { args, y, result, gradients: gradientsOf } = tape.entries[i]
      const dy = gradients.get(result)
      gradients.delete(result)
      if (dy) {
        const results = scope(() => gradientsOf({ dy, y, needs: tape.needs }, ...args))
        accumulate(tape, gradients, args, results)
        for (const gradient of ownedIn(results)) release(gradient)
        release(dy)
      }
      for (const tensor of ownedIn(y)) passed(tensor)
    }
    for (const leaf of gradients.keys()) {
      if (!leaf.requiresGrad)
        throw new ShapeError(
          'backward: the loss must be computed after the last step of the optimizer, which changed what it came from',
        )
    }
    for (const [leaf, gradient] of gradients) addTo(leaf, gradient)
  })
}

/**
 * Adds the gradients of an operation's arguments to those that are known. One may be handed to several
 * arguments: each gets a view of its own, and sums are new tensors.
 */
function accumulate(
  tape: Tape,
  known: Map<Tensor, Tensor>,
  args: readonly unknown[],
  gradients: readonly Gradient[],
): void {
  for (let k = 0; k < gradients.length; k++) {
    const [x, gradient] = [args[k] as Tensor, gradients[k]]
    if (!gradient) continue
    if (!(gradient instanceof Tensor)) accumulate(tape, known, args[k] as readonly unknown[], gradient)
    else if (tape.needs(x)) {
      const before = known.get(x)
      known.set(x, before ? add(before, gradient) : gradient.view(x.shape))
      if (before) release(before)
    }
  }
}

function addTo(leaf: Tensor, gradient: Tensor): void {
  const sum = leaf.grad ? add(leaf.grad, gradient) : gradient.view(leaf.shape)
  leaf.grad?.dispose()
  leaf.grad = keep(sum)
}
