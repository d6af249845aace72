import { DTypeError, ShapeError } from '../core/errors.ts'
import { aBoolean, aFunction, aSignal, aString, check, either, listOf, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { Random } from '../core/random.ts'
import { type Computation, type Compute, computedIn, computeIn } from '../nn/computeDtype.ts'
import { aComputeDType, type ComputeDType } from '../qtensor/computeDtype.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { aCacheType, type CacheType } from './caches/index.ts'
import type { KVCache } from './caches/kvCache.ts'
import { aCausalLM, type CausalLM } from './causalLM.ts'
import { DecodeStep } from './decodeStep.ts'
import { type SamplingOptions, sample, samplingKinds } from './sampling.ts'

/** How a prompt is continued. */
export interface GenerateOptions extends SamplingOptions {
  /** At most this many tokens; default 128. The model's own context may end it earlier. */
  maxNewTokens?: number
  /** Seed of the draws when `temperature` is above 0; default 0. */
  seed?: number
  /** Whether to end at the model's end-of-text tokens; default true. */
  stopAtEos?: boolean
  /**
   * The precision of products with quantized weights. Default: what `setComputeDtype` or a recipe set, else
   * int8, integer dot products of activations rounded to int8 in groups of 32, wherever the type of the
   * weights has them.
   */
  computeDtype?: ComputeDType
  /** What keys and values of earlier tokens are kept as, as `createCache` takes it; default float32. */
  kv?: CacheType
  /** Ends the generation: between two tokens, or two chunks of the prompt. */
  signal?: AbortSignal
  /** Called with each piece of text as it comes, and the id of its last token. */
  onText?: (text: string, tokenId: number) => void
}

const optionKinds: OptionKinds<GenerateOptions> = {
  ...samplingKinds,
  maxNewTokens: wholeNumber(0),
  seed: wholeNumber(-Infinity),
  stopAtEos: aBoolean,
  computeDtype: aComputeDType,
  kv: aCacheType,
  signal: aSignal,
  onText: aFunction,
}
const someTokenIds = listOf('token ids', wholeNumber(0))
const aPrompt = either('be a text or a list of token ids', aString, someTokenIds)

/** What `generate` wrote, and how fast. */
export interface Generation {
  /** The new text, without the prompt. */
  text: string
  /** The new tokens; an end-of-text token is the last of them. */
  tokenIds: number[]
  promptTokens: number
  prefillTokensPerSecond: number
  /** Of the tokens after the first. */
  decodeTokensPerSecond: number
  /** Time until the first token. */
  firstTokenMs: number
  /**
   * What was computed in: int8 if products with quantized weights ran in integers, float32 if none did; or as
   * a recipe set it.
   */
  computeDtype: ComputeDType
}

/** Prompt tokens of the first command list, and the most of any; others are multiples of the first. */
const firstChunk = 32
const largestChunk = 512
/**
 * How long a chunk should take: the longer, the faster the prompt is read; an abort between two of them is to
 * act within 200 ms.
 * Longer chunks let weights be unpacked for more tokens at once: 32 tokens give 83 GOP/s where 128 give 106.
 */
const chunkMs = 150

/**
 * The tokens of the next chunk after one of `size` tokens took `ms`; a size that is about right is kept, and
 * with it the buffers.
 */
export function nextChunk(size: number, ms: number): number {
  const possible = (size * chunkMs) / ms
  if (possible > 0.75 * size && possible < 1.5 * size) return size
  return Math.min(Math.max(Math.floor(possible / firstChunk) * firstChunk, firstChunk), largestChunk)
}

/**
 * Continues a prompt.
 * @throws ShapeError if the prompt is longer than the model's context
 * @throws the signal's reason when aborted; DTypeError if logits are NaN
 */
export async function generate(
  model: CausalLM,
  prompt: string | readonly number[],
  options: GenerateOptions = {},
): Promise<Generation> {
  check('generate', 'model', model, aCausalLM)
  check('generate', 'prompt', prompt, aPrompt)
  checkOptions('generate', options, optionKinds)
  const { tokenizer } = model
  if (typeof prompt === 'string' && !tokenizer)
    throw new DTypeError('generate: the model has no tokenizer; pass token ids')
  const promptIds = typeof prompt === 'string' ? (tokenizer?.encode(prompt) ?? []) : prompt
  const started = performance.now()
  let firstMs = 0
  const tokenIds: number[] = []
  let text = ''
  for await (const id of generateTokens(model, promptIds, options)) {
    if (tokenIds.push(id) === 1) firstMs = performance.now() - started
    if (!tokenizer) continue
    const settled = tokenizer.decodeSettled(tokenIds)
    if (settled.length <= text.length) continue
    options.onText?.(settled.slice(text.length), id)
    text = settled
  }
  const decodeMs = performance.now() - started - firstMs
  const whole = tokenizer?.decode(tokenIds) ?? ''
  // What more tokens might have changed.
  if (whole.length > text.length) options.onText?.(whole.slice(text.length), tokenIds[tokenIds.length - 1])
  return {
    text: whole,
    tokenIds,
    promptTokens: promptIds.length,
    prefillTokensPerSecond: firstMs > 0 ? (1000 * promptIds.length) / firstMs : 0,
    decodeTokensPerSecond: tokenIds.length > 1 ? (1000 * (tokenIds.length - 1)) / decodeMs : 0,
    firstTokenMs: firstMs,
    computeDtype: computedIn(model, computation(options)),
  }
}

/** What generating computes in. */
export function computation({ computeDtype }: Pick<GenerateOptions, 'computeDtype'>): Computation {
  return { asked: computeDtype, usual: 'int8' }
}

/** Yields token ids one by one as they are found. */
export async function* generateTokens(
  model: CausalLM,
  promptIds: readonly number[],
  options: GenerateOptions = {},
): AsyncGenerator<number> {
  check('generate', 'model', model, aCausalLM)
  check('generate', 'promptIds', promptIds, someTokenIds)
  checkOptions('generate', options, optionKinds)
  const { maxNewTokens = 128, temperature = 0, signal, stopAtEos = true } = options
  const { maxPositions } = model.config
  if (promptIds.length === 0)
    throw new ShapeError('generate: the prompt must have at least one token; received none')
  if (promptIds.length > maxPositions) {
    throw new ShapeError(
      `generate: the prompt must fit into the model's context of ${maxPositions} tokens; received ${promptIds.length}`,
    )
  }
  signal?.throwIfAborted()
  if (maxNewTokens === 0) return
  const count = Math.min(maxNewTokens, maxPositions - promptIds.length + 1)
  const eos = stopAtEos ? new Set(model.eosTokenIds) : new Set()
  using cache = model.createCache(promptIds.length + count - 1, { kv: options.kv })
  const compute = computeIn(model, computation(options))
  using step = compute(() => new DecodeStep(model, cache))
  using logits = await prefill(model, promptIds, cache, compute, signal)
  // A step needs far less room than the prompt did.
  model.device.trim()
  for await (const id of temperature > 0
    ? sampled(logits, step, count, options)
    : greedy(logits, step, count)) {
    signal?.throwIfAborted()
    yield id
    if (eos.has(id)) return
  }
}

/**
 * Runs the prompt in chunks, as long as the device's speed allows; resolves to the logits of its last token
 * [1, 1, V].
 */
async function prefill(
  model: CausalLM,
  ids: readonly number[],
  cache: KVCache,
  compute: Compute,
  signal: AbortSignal | undefined,
): Promise<Tensor> {
  let size = firstChunk
  for (let start = 0; ; ) {
    const started = performance.now()
    const end = Math.min(ids.length, start + size)
    if (end === ids.length)
      return compute(() => model.forward(ids.slice(start, end), { cache, lastOnly: true }))
    compute(() => model.extend(ids.slice(start, end), cache))
    await model.device.sync()
    signal?.throwIfAborted()
    const next = nextChunk(size, performance.now() - started)
    // Buffers of the old size would only lie about.
    if (next !== size) model.device.trim()
    size = next
    start = end
  }
}

/**
 * Always the likeliest token. The next step is queued, on the token that is still on the device, before this
 * one is read.
 * Since argmax stays on the device, recording overlaps with computing. The likeliest logit comes along in the
 * same read: it is NaN as soon as any is.
 */
async function* greedy(first: Tensor, step: DecodeStep, count: number): AsyncGenerator<number> {
  step.feedLikeliest(first)
  let read = step.likeliest()
  for (let i = 0; i < count; i++) {
    const current = read
    if (i + 1 < count) {
      step.run()
      read = step.likeliest()
    }
    const { id, logit } = await current
    checkLogit(logit, i)
    yield id
  }
}

async function* sampled(
  first: Tensor,
  step: DecodeStep,
  count: number,
  options: GenerateOptions,
): AsyncGenerator<number> {
  const random = new Random(options.seed ?? 0)
  let logits = first
  for (let i = 0; i < count; i++) {
    const values = (await logits.read()) as Float32Array
    for (const value of values) checkLogit(value, i)
    const id = sample(values, options, random)
    yield id
    if (i + 1 === count) return
    step.feed(id)
    step.run()
    logits = step.logits
  }
}

/**
 * @throws DTypeError if the logit of a token, the one after `done` new ones, says that numbers overflowed.
 */
function checkLogit(logit: number, done: number): void {
  if (logit < Infinity) return
  const received = Number.isNaN(logit) ? 'NaN' : 'infinite'
  throw new DTypeError(
    `generate: logits must be finite; those of new token ${done + 1} are ${received}: a weight or an activation overflows its dtype`,
  )
}
