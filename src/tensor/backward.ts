import { ShapeError } from '../core/errors.ts'
import { showShape } from '../core/shape.ts'
import { add } from './ops/elementwise.ts'
import { checkBody, keep, ownedIn, release, scope } from './scope.ts'
import { type Tape, taped } from './tape.ts'
import { checkTensor, Tensor } from './tensor.ts'

/**
 * Runs `body` and adds the gradient of the loss that it returns to `grad` of every tensor with `requiresGrad` that it was computed from.
 *
 *     const loss = backward(() => crossEntropyLoss(model.forward(x), labels))
 *
 * What `body` computes is given back to the device on the way, except what it returns: the loss, or an object whose `loss` it is.
 * @throws ShapeError unless the loss is one value
 */
export function backward<R extends Tensor | { loss: Tensor }>(body: () => R): R {
  checkBody('backward', body)
  return scope(() => {
    const { tape, result } = taped(body)
    const loss = result instanceof Tensor ? result : result?.loss
    checkTensor('backward', 'the loss', loss)
    if (loss.numel !== 1) throw new ShapeError(`backward: the loss must be one value; received ${showShape(loss.shape)}`)
    propagate(tape, loss, new Set(ownedIn(result)))
    return result
  })
}

/** Walks the tape from the loss to the leaves; gradients and outputs that nothing needs any more are given back at once. */
function propagate(tape: Tape, loss: Tensor, returned: ReadonlySet<unknown>): void {
  const gradients = new Map<Tensor, Tensor>()
  if (tape.needs(loss)) gradients.set(loss, Tensor.fromNumbers(loss.device, [1], loss.shape))
  for (let entry = tape.entries.pop(); entry; entry = tape.entries.pop()) {
    const { y, inputs } = entry
    const dy = gradients.get(y)
    gradients.delete(y)
    if (dy) {
      const results = scope(() => entry.gradients(dy))
      for (const [i, x] of inputs.entries()) {
        const gradient = results[i]
        if (x && gradient && tape.needs(x)) accumulate(gradients, x, gradient)
      }
      for (const gradient of results) if (gradient) release(gradient)
      release(dy)
    }
    if (!returned.has(y)) release(y)
  }
  for (const [leaf, gradient] of gradients) if (leaf.requiresGrad) addTo(leaf, gradient)
}

/** A gradient may be handed to several inputs: each gets a view of its own, and sums are new tensors. */
function accumulate(gradients: Map<Tensor, Tensor>, x: Tensor, gradient: Tensor): void {
  const known = gradients.get(x)
  gradients.set(x, known ? add(known, gradient) : gradient.view(x.shape))
  if (known) release(known)
}

function addTo(leaf: Tensor, gradient: Tensor): void {
  const sum = leaf.grad ? add(leaf.grad, gradient) : gradient.view(leaf.shape)
  leaf.grad?.dispose()
  leaf.grad = keep(sum)
}
