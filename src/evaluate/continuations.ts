import { DTypeError, ShapeError } from '../core/errors.ts'
import type { KVCache } from '../models/caches/kvCache.ts'
import type { CausalLM } from '../models/causalLM.ts'
import type { Compute } from '../nn/computeDtype.ts'
import { argmax, crossEntropy } from '../tensor/ops/index.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/** How likely a model finds a continuation after its context. */
export interface Likelihood {
  /** Σ log p of the continuation's tokens, in nats. */
  logLikelihood: number
  /** Whether each of them is the likeliest, so that greedy generation would write it. */
  greedy: boolean
}

/**
 * The likelihoods of several continuations of one context. The context is read once, into the cache, whose
 * length is then what it was not.
 * @param context token ids, at least one
 * @param continuations of at least one token each; with the context they fit the cache
 */
export async function likelihoods(
  model: CausalLM,
  compute: Compute,
  cache: KVCache,
  context: readonly number[],
  continuations: readonly (readonly number[])[],
): Promise<Likelihood[]> {
  cache.length = 0
  // The last token of the context guesses the first of each continuation.
  const [before, last] = [context.slice(0, -1), context[context.length - 1]]
  if (before.length > 0) compute(() => model.extend(before, cache))
  const all: Likelihood[] = []
  for (const tokens of continuations) {
    if (cache.goesBackTo(before.length)) cache.length = before.length
    else {
      cache.length = 0
      compute(() => model.extend(before, cache))
    }
    const { nll, guesses } = scope(() => {
      const inputs = [last, ...tokens.slice(0, -1)]
      const logits = compute(() => model.forward(inputs, { cache }))
      const rows = logits.view([tokens.length, model.config.vocabularySize])
      const targets = Tensor.fromArray(model.device, Int32Array.from(tokens), [tokens.length], 'int32')
      return { nll: crossEntropy(rows, targets), guesses: argmax(rows) }
    })
    const [losses, likeliest] = [await nll.toNumbers(), await guesses.toNumbers()]
    nll.dispose()
    guesses.dispose()
    const logLikelihood = -Array.from(losses, Number).reduce((sum, loss) => sum + loss, 0)
    if (Number.isNaN(logLikelihood))
      throw new DTypeError(
        'evaluateTask: logits must be numbers; they are NaN: a weight or an activation overflows its dtype',
      )
    all.push({ logLikelihood, greedy: tokens.every((token, i) => token === likeliest[i]) })
  }
  return all
}

/**
 * The tokens of a context and of what continues it: those of both together, cut where the tokens of the
 * context alone end. Spaces at the context's end count to the continuation. Of what is longer than the model's
 * context, the beginning is left out.
 * Source: lm-eval 0.4.13, TemplateLM._encode_pair.
 * @throws ShapeError if the continuation alone is longer
 */
export function tokensOf(
  model: CausalLM,
  text: { context: string; continuation: string },
): { context: number[]; continuation: number[] } {
  const { tokenizer } = model
  if (!tokenizer)
    throw new DTypeError('evaluateTask: the model has no tokenizer, which turns questions into tokens')
  const trimmed = text.context.trimEnd()
  const whole = tokenizer.encode(text.context + text.continuation)
  const context = tokenizer.encode(trimmed)
  const continuation = whole.slice(context.length)
  const { maxPositions } = model.config
  if (continuation.length === 0 || context.length === 0)
    throw new ShapeError('evaluateTask: a context and its continuation must have tokens; one has none')
  if (continuation.length > maxPositions)
    throw new ShapeError(
      `evaluateTask: an answer must fit the model's context (${maxPositions} tokens); one has ${continuation.length}`,
    )
  // The last token of the continuation is never read.
  const kept = maxPositions + 1 - continuation.length
  return { context: context.slice(-kept), continuation }
}
