import { DTypeError, ShapeError } from '../core/errors.ts'
import { aFunction, aSignal, aString, check, either, listOf, oneOf, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { aCacheType, type CacheType } from '../models/caches/index.ts'
import type { KVCache } from '../models/caches/kvCache.ts'
import { aCausalLM, type CausalLM, type ForwardOptions } from '../models/causalLM.ts'
import { type Computation, type Compute, computedIn, computeIn } from '../nn/computeDtype.ts'
import { aComputeDType, type ComputeDType } from '../qtensor/computeDtype.ts'
import { argmax, crossEntropy, klDivergence } from '../tensor/ops/index.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { type PerplexityDefinition, perplexityDefinitions, textWindows } from './windows.ts'

/** How `perplexity` cuts the text, and what it compares with. */
export interface PerplexityOptions {
  /** Tokens of a window; default: the model's context, at most 2048. */
  context?: number
  /** Tokens from one window's start to the next; default: the context, so that windows do not overlap. */
  stride?: number
  /** Which windows there are, and which of their tokens count; default `whole`. */
  definition?: PerplexityDefinition
  /** A model (the float one) to compare with, token by token; on the same device. */
  baseline?: CausalLM
  /**
   * The precision of the model's products with quantized weights; the baseline's stays as it is. Default:
   * what `setComputeDtype` or a recipe set, else float32; int8 measures what `generate` runs.
   */
  computeDtype?: ComputeDType
  /**
   * What the model's keys and values of earlier tokens are kept as; default float32. The baseline's are
   * floats.
   */
  kv?: CacheType
  signal?: AbortSignal
  /** Called after each window. */
  onProgress?: (windows: number, total: number) => void
}

const optionKinds: OptionKinds<PerplexityOptions> = {
  context: wholeNumber(2),
  stride: wholeNumber(1),
  definition: oneOf(...perplexityDefinitions),
  baseline: aCausalLM,
  computeDtype: aComputeDType,
  kv: aCacheType,
  signal: aSignal,
  onProgress: aFunction,
}
const aText = either('be a text or a list of token ids', aString, listOf('token ids', wholeNumber(0)))

/** What `perplexity` measured. */
export interface Perplexity {
  /** exp(nll) */
  perplexity: number
  /** Mean negative log-likelihood of the scored tokens, in nats. */
  nll: number
  /** Standard error of `nll`, were the tokens drawn one by one: 1.96 of it on each side hold 95 % of cases. */
  nllError: number
  /** How many tokens were scored. */
  tokens: number
  /** Mean KL(baseline ‖ model) over the scored tokens, in nats. */
  klDivergence?: number
  /** Standard error of `klDivergence`, as that of `nll`. */
  klDivergenceError?: number
  /** Share of the scored tokens on whose likeliest guess both models agree. */
  top1Agreement?: number
  /** Standard error of `top1Agreement`. */
  top1AgreementError?: number
  /** What the model computed in: float32, unless products with quantized weights ran in another precision. */
  computeDtype: ComputeDType
}

/**
 * How surprised the model is by a text: it is cut into windows of `context` tokens every `stride`, and each
 * window scores its tokens but the first and those scored before; `definition` says more.
 * @throws ShapeError if the text has less than one window; DTypeError if logits are NaN
 */
export async function perplexity(
  model: CausalLM,
  text: string | readonly number[],
  options: PerplexityOptions = {},
): Promise<Perplexity> {
  check('perplexity', 'model', model, aCausalLM)
  check('perplexity', 'text', text, aText)
  checkOptions('perplexity', options, optionKinds)
  const { baseline, signal, definition = 'whole' } = options
  const ids = typeof text === 'string' ? evaluationTokens(model, text, definition) : text
  const context = options.context ?? Math.min(model.config.maxPositions, 2048)
  const stride = options.stride ?? context
  checkWindow(context, stride, model.config.maxPositions)
  if (definition === 'llama.cpp' && stride !== context)
    throw new ShapeError(
      `perplexity: llama.cpp's windows stand side by side, so stride must be the context (${context}); received ${stride}`,
    )
  const windows = textWindows(ids.length, { context, stride, definition })
  if (baseline && baseline.config.vocabularySize !== model.config.vocabularySize) {
    const sizes = `${baseline.config.vocabularySize} and ${model.config.vocabularySize}`
    throw new ShapeError(`perplexity: the baseline must have the model's vocabulary; the sizes are ${sizes}`)
  }
  const computation: Computation = { asked: options.computeDtype, usual: 'float32' }
  const compute = computeIn(model, computation)
  // Floats are what the tokens of a window see of each other without a cache, too.
  using cache =
    options.kv === undefined || options.kv === 'float32'
      ? null
      : model.createCache(context, { kv: options.kv })
  const begin = definition === 'llama.cpp' ? beginOfText(model) : undefined
  const [nll, divergence, agreement] = [new Mean(), new Mean(), new Mean()]
  for (const [window, { start, end, scored }] of windows.entries()) {
    signal?.throwIfAborted()
    const chunk = ids.slice(start, end)
    if (begin !== undefined) chunk[0] = begin
    const scores = scope(() => scoreWindow(model, compute, cache, baseline, chunk))
    const values = await scores.nll.read()
    const kl = await scores.kl?.read()
    const guesses = await scores.guesses?.read()
    const baselineGuesses = await scores.baselineGuesses?.read()
    for (const tensor of Object.values(scores)) tensor?.dispose()
    for (let i = scored; i < chunk.length; i++) {
      checkScore(values[i - 1], 'those', window, i)
      if (kl) checkScore(kl[i - 1], "the baseline's", window, i)
      nll.add(Number(values[i - 1]))
      divergence.add(Number(kl?.[i - 1] ?? 0))
      agreement.add(guesses?.[i - 1] === baselineGuesses?.[i - 1] ? 1 : 0)
    }
    options.onProgress?.(window + 1, windows.length)
  }
  const compared = baseline && {
    klDivergence: divergence.value,
    klDivergenceError: divergence.error,
    top1Agreement: agreement.value,
    top1AgreementError: agreement.error,
  }
  return {
    perplexity: Math.exp(nll.value),
    nll: nll.value,
    nllError: nll.error,
    tokens: nll.count,
    ...compared,
    computeDtype: computedIn(model, computation),
  }
}

/** A mean, and its standard error: √(variance / (count − 1)). */
class Mean {
  count = 0
  private sum = 0
  private squares = 0

  add(value: number): void {
    this.count++
    this.sum += value
    this.squares += value ** 2
  }

  get value(): number {
    return this.sum / this.count
  }

  get error(): number {
    const variance = this.squares / this.count - this.value ** 2
    return Math.sqrt(Math.max(0, variance) / Math.max(1, this.count - 1))
  }
}

/** Entry t is about the token after t: [context − 1] each. */
interface WindowScores {
  nll: Tensor
  kl?: Tensor
  guesses?: Tensor
  baselineGuesses?: Tensor
}

function scoreWindow(
  model: CausalLM,
  compute: Compute,
  cache: KVCache | null,
  baseline: CausalLM | undefined,
  ids: readonly number[],
): WindowScores {
  const scored = ids.length - 1
  const matrix = (m: CausalLM, options: ForwardOptions = {}) =>
    m.forward(ids, options).view([ids.length, m.config.vocabularySize]).rows(0, scored)
  if (cache) cache.length = 0
  const logits = compute(() => matrix(model, cache ? { cache } : {}))
  const targets = Tensor.fromArray(model.device, Int32Array.from(ids.slice(1)), [scored], 'int32')
  const nll = crossEntropy(logits, targets)
  if (!baseline) return { nll }
  const baselineLogits = matrix(baseline)
  return {
    nll,
    kl: klDivergence(baselineLogits, logits),
    guesses: argmax(logits),
    baselineGuesses: argmax(baselineLogits),
  }
}

/**
 * The tokens of a text to evaluate: those of the text alone, or as llama.cpp has it with the token that begins
 * a text.
 */
export function evaluationTokens(model: CausalLM, text: string, definition: PerplexityDefinition): number[] {
  if (!model.tokenizer) throw new DTypeError('perplexity: the model has no tokenizer; pass token ids')
  const ids = model.tokenizer.encode(text, { addSpecialTokens: false })
  const begin = definition === 'llama.cpp' ? beginOfText(model) : undefined
  return begin === undefined ? ids : [begin, ...ids]
}

/** The token that the model expects before a text, if it does. */
function beginOfText({ tokenizer }: CausalLM): number | undefined {
  const [[first], plain] = [true, false].map(
    (addSpecialTokens) => tokenizer?.encode('a', { addSpecialTokens }) ?? [],
  )
  return first === plain[0] ? undefined : first
}

function checkWindow(context: number, stride: number, maxPositions: number): void {
  if (!(Number.isInteger(context) && context >= 2 && context <= maxPositions)) {
    throw new ShapeError(
      `perplexity: context must be a whole number in 2..${maxPositions}, the model's context; received ${context}`,
    )
  }
  if (!(Number.isInteger(stride) && stride >= 1 && stride <= context)) {
    throw new ShapeError(
      `perplexity: stride must be a whole number in 1..${context}, the context; received ${stride}`,
    )
  }
}

/** @throws DTypeError if a score of a token is NaN, as it becomes by logits that are. */
function checkScore(score: number | bigint, whose: string, window: number, token: number): void {
  if (!Number.isNaN(score)) return
  throw new DTypeError(
    `perplexity: logits must be numbers; ${whose} for token ${token} of window ${window + 1} are NaN: a weight or an activation overflows its dtype`,
  )
}
