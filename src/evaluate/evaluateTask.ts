import { ShapeError } from '../core/errors.ts'
import { aFunction, aList, aSignal, check, oneOf, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { JsonObject } from '../formats/json.ts'
import { aCacheType, type CacheType } from '../models/caches/index.ts'
import { aCausalLM, type CausalLM } from '../models/causalLM.ts'
import { type Computation, computedIn, computeIn } from '../nn/computeDtype.ts'
import { aComputeDType, type ComputeDType } from '../qtensor/computeDtype.ts'
import { type Likelihood, likelihoods, tokensOf } from './continuations.ts'
import { type Question, type Task, type TaskName, taskNames, tasks } from './tasks.ts'

/** How `evaluateTask` asks. */
export interface TaskOptions {
  /** Asks the first items only; default all. */
  limit?: number
  /** As of `perplexity`; default float32 unless set otherwise. */
  computeDtype?: ComputeDType
  /** What keys and values are kept as; default float32. */
  kv?: CacheType
  signal?: AbortSignal
  /** Called after each question. */
  onProgress?: (done: number, total: number) => void
}

const optionKinds: OptionKinds<TaskOptions> = {
  limit: wholeNumber(1),
  computeDtype: aComputeDType,
  kv: aCacheType,
  signal: aSignal,
  onProgress: aFunction,
}

/** What `evaluateTask` measured. */
export interface TaskResult {
  task: TaskName
  /** Questions asked. */
  items: number
  /**
   * The share of questions whose right answer is the likeliest; of lambada, whose last word greedy generation
   * would write.
   */
  accuracy: number
  /** Standard error of the accuracy: 1.96 of it on each side hold 95 % of cases. */
  accuracyError: number
  /** The same by log-likelihood per character of the answer (lm-eval's acc_norm), where a task has it. */
  accuracyPerCharacter?: number
  accuracyPerCharacterError?: number
  /** Of lambada: exp of the mean negative log-likelihood of the last words. */
  perplexity?: number
  /** What the model computed in: float32, unless products with quantized weights ran in another precision. */
  computeDtype: ComputeDType
}

/**
 * Asks a model the questions of a data set, each answer scored by its likelihood, without examples before it,
 * as EleutherAI's lm-evaluation-harness does: lambada, hellaswag, arc, piqa, winogrande.
 * @param items as the hub's data sets have them, in the fields of their files
 * @throws FormatError if an item lacks a field; ShapeError if there is none; DTypeError if logits are NaN
 */
export async function evaluateTask(
  model: CausalLM,
  task: TaskName,
  items: readonly object[],
  options: TaskOptions = {},
): Promise<TaskResult> {
  check('evaluateTask', 'model', model, aCausalLM)
  check('evaluateTask', 'task', task, oneOf(...taskNames))
  check('evaluateTask', 'items', items, aList)
  checkOptions('evaluateTask', options, optionKinds)
  const { signal, kv = 'float32', limit = items.length } = options
  const asked = items.slice(0, limit)
  if (asked.length === 0) throw new ShapeError('evaluateTask: there must be an item; received none')
  // All are read first, so that a wrong one is said before an hour has gone.
  const { question, perCharacter }: Task = tasks[task]
  const questions = asked.map((item, i) => question(new JsonObject(item, `item ${i + 1} of ${task}`)))
  const computation: Computation = { asked: options.computeDtype, usual: 'float32' }
  const compute = computeIn(model, computation)
  const scores: Score[] = []
  for (const one of questions) {
    signal?.throwIfAborted()
    scores.push(scoreOf(one, await answerLikelihoods(one)))
    options.onProgress?.(scores.length, questions.length)
  }
  const normalized = perCharacter && {
    accuracyPerCharacter: mean(scores.map(({ rightPerCharacter }) => rightPerCharacter)),
    accuracyPerCharacterError: meanError(scores.map(({ rightPerCharacter }) => rightPerCharacter)),
  }
  return {
    task,
    items: scores.length,
    accuracy: mean(scores.map(({ right }) => right)),
    accuracyError: meanError(scores.map(({ right }) => right)),
    ...normalized,
    ...(task === 'lambada' && {
      perplexity: Math.exp(-mean(scores.map(({ logLikelihood }) => logLikelihood))),
    }),
    computeDtype: computedIn(model, computation),
  }

  /** Answers that follow one context share its reading. */
  async function answerLikelihoods({ answers }: Question): Promise<Likelihood[]> {
    const encoded = answers.map((answer) => tokensOf(model, answer))
    const longest = Math.max(
      ...encoded.map(({ context, continuation }) => context.length + continuation.length),
    )
    using cache = model.createCache(longest, { kv })
    const found: Likelihood[] = []
    for (const [i, { context }] of encoded.entries()) {
      if (found[i]) continue
      const same = encoded.flatMap((other, j) => (sameTokens(other.context, context) ? [j] : []))
      const continuations = same.map((j) => encoded[j].continuation)
      const results = await likelihoods(model, compute, cache, context, continuations)
      for (const [k, j] of same.entries()) found[j] = results[k]
    }
    return found
  }
}

/** 1 where a question was answered rightly, 0 where not; and how likely the right answer was. */
interface Score {
  right: number
  rightPerCharacter: number
  logLikelihood: number
}

function scoreOf({ answers, right }: Question, found: readonly Likelihood[]): Score {
  const scores = found.map(({ logLikelihood }) => logLikelihood)
  const perCharacter = scores.map((score, i) => score / answers[i].length)
  const chosen = (values: readonly number[]) => Number(values.indexOf(Math.max(...values)) === right)
  return {
    // With nothing to choose from, the model must have come to the answer itself.
    right: answers.length === 1 ? Number(found[0].greedy) : chosen(scores),
    rightPerCharacter: chosen(perCharacter),
    logLikelihood: scores[right],
  }
}

function sameTokens(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i])
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Standard error of the mean, by the standard deviation of the sample. */
function meanError(values: readonly number[]): number {
  const middle = mean(values)
  const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0)
  return Math.sqrt(squares / Math.max(1, values.length - 1) / values.length)
}
