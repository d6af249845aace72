import { ShapeError } from '../core/errors.ts'
import { anIterable, check, isObject, show } from '../core/kinds.ts'
import { aModule, type Module } from '../nn/module.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import { argmax, crossEntropy } from '../tensor/ops/reduce.ts'
import { scope } from '../tensor/scope.ts'
import { noGrad } from '../tensor/tape.ts'
import { checkTensor, type Tensor } from '../tensor/tensor.ts'

/** How well a model tells classes apart. */
export interface Accuracy {
  /** Samples whose likeliest class is right, as a fraction. */
  accuracy: number
  /** Mean negative log-likelihood of the right class. */
  loss: number
  samples: number
}

/**
 * Accuracy and mean cross-entropy of a classifier, in evaluation mode.
 * @param model from x to logits [B, classes]
 * @param batches x and y [B] int32, the classes
 * @throws ShapeError if there is no batch, or a label outside 0 … classes − 1
 */
export async function accuracy(
  model: Module & { forward(x: Tensor): Tensor | QTensor },
  batches: AsyncIterable<{ x: Tensor; y: Tensor }> | Iterable<{ x: Tensor; y: Tensor }>,
): Promise<Accuracy> {
  check('accuracy', 'model', model, aModule)
  check('accuracy', 'batches', batches, anIterable)
  const { training } = model
  model.eval()
  const sum = { right: 0, loss: 0, samples: 0 }
  try {
    for await (const batch of batches) {
      if (!isObject(batch))
        throw new ShapeError(`accuracy: every batch must be { x, y }; received ${show(batch)}`)
      const { x, y } = batch
      checkTensor('accuracy', 'x of a batch', x)
      checkTensor('accuracy', 'y of a batch', y)
      let classes = 0
      const { nll, best } = noGrad(() =>
        scope(() => {
          const logits = model.forward(x).dequantize()
          classes = logits.size(-1)
          return { nll: crossEntropy(logits, y), best: argmax(logits) }
        }),
      )
      const [losses, guesses, labels] = await Promise.all([nll.toNumbers(), best.toNumbers(), y.toNumbers()])
      nll.dispose()
      best.dispose()
      for (const [i, label] of labels.entries()) {
        if (!(label >= 0 && label < classes))
          throw new ShapeError(`accuracy: labels must lie in 0..${classes - 1}; received ${label} at ${i}`)
        sum.loss += losses[i]
        if (guesses[i] === label) sum.right++
      }
      sum.samples += labels.length
    }
  } finally {
    model.train(training)
  }
  if (sum.samples === 0) throw new ShapeError('accuracy: there must be a sample; received none')
  return { accuracy: sum.right / sum.samples, loss: sum.loss / sum.samples, samples: sum.samples }
}
