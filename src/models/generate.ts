import { ShapeError } from '../core/errors.ts'
import { aFunction, aSignal, check } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { type Computation, computedIn, computeIn } from '../nn/computeDtype.ts'
import { aComputeDType, type ComputeDType } from '../qtensor/computeDtype.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { aCacheType, type CacheType } from './caches/index.ts'
import { aCache, type KVCache } from './caches/kvCache.ts'
import { aCausalLM, type CausalLM } from './causalLM.ts'
import { DecodeStep } from './decodeStep.ts'
import { type Generation, GenerationRecord } from './generation.ts'
import { lendCache } from './keptCache.ts'
import { readPrompt } from './prefill.ts'
import {
  aPrompt,
  type GeneratedToken,
  type Prompt,
  promptTokens,
  Sequence,
  type SequenceOptions,
  sequenceKinds,
  someTokenIds,
} from './sequence.ts'

/** How a prompt is continued, token by token. */
export interface StreamOptions extends SequenceOptions {
  /**
   * The precision of products with quantized weights. Default: what `setComputeDtype` or a recipe set, else
   * int8, integer dot products of activations rounded to int8 in groups of 32, wherever the type of the
   * weights has them.
   */
  computeDtype?: ComputeDType
  /** What keys and values of earlier tokens are kept as, as `createCache` takes it; default float16. */
  kv?: CacheType
  /**
   * A cache of one sequence to go on from, instead of a new one: of the prompt, what it holds the first tokens
   * of is not read again. It holds the new tokens, too, in the end; it is not disposed.
   */
  cache?: KVCache
  /** Ends the generation: between two tokens, or two chunks of the prompt. */
  signal?: AbortSignal
}

/** How a prompt is continued. */
export interface GenerateOptions extends StreamOptions {
  /** Called with each piece of text as it comes, and the id of its last token. */
  onText?: (text: string, tokenId: number) => void
}

export const streamKinds: OptionKinds<StreamOptions> = {
  ...sequenceKinds,
  computeDtype: aComputeDType,
  kv: aCacheType,
  cache: aCache,
  signal: aSignal,
}
const optionKinds: OptionKinds<GenerateOptions> = { ...streamKinds, onText: aFunction }

/**
 * Continues a prompt.
 * @throws ShapeError if the prompt is empty, or longer than the model's context
 * @throws the signal's reason when aborted; DTypeError if logits are NaN
 */
export async function generate(
  model: CausalLM,
  prompt: Prompt,
  options: GenerateOptions = {},
): Promise<Generation> {
  check('generate', 'model', model, aCausalLM)
  check('generate', 'prompt', prompt, aPrompt)
  checkOptions('generate', options, optionKinds)
  const record = new GenerationRecord()
  const sequence = new Sequence(model, promptTokens(model, prompt, options), options)
  for await (const token of run(model, sequence, options)) {
    record.add(token)
    if (token.text !== '') options.onText?.(token.text, token.tokenId)
  }
  return record.generation(sequence, computedIn(model, computation(options)))
}

/** What generating computes in. */
export function computation({ computeDtype }: Pick<GenerateOptions, 'computeDtype'>): Computation {
  return { asked: computeDtype, usual: 'int8' }
}

/**
 * Continues a prompt, and yields each token with its text as it comes. Whoever leaves the loop ends the
 * generation.
 * @throws as `generate`
 */
export async function* stream(
  model: CausalLM,
  prompt: Prompt,
  options: StreamOptions = {},
): AsyncGenerator<GeneratedToken> {
  check('stream', 'model', model, aCausalLM)
  check('stream', 'prompt', prompt, aPrompt)
  checkOptions('stream', options, streamKinds)
  yield* run(model, new Sequence(model, promptTokens(model, prompt, options), options), options)
}

/** Yields token ids one by one as they are found. */
export async function* generateTokens(
  model: CausalLM,
  promptIds: readonly number[],
  options: StreamOptions = {},
): AsyncGenerator<number> {
  check('generate', 'model', model, aCausalLM)
  check('generate', 'promptIds', promptIds, someTokenIds)
  checkOptions('generate', options, streamKinds)
  const sequence = new Sequence(model, promptIds, options, { withText: false })
  for await (const { tokenId } of run(model, sequence, options)) yield tokenId
}

/** Yields the tokens of a sequence until it ends. */
async function* run(
  model: CausalLM,
  sequence: Sequence,
  options: StreamOptions,
): AsyncGenerator<GeneratedToken> {
  options.signal?.throwIfAborted()
  if (sequence.finishReason) return
  const { promptIds, tokenIds, limit } = sequence
  const capacity = promptIds.length + limit - 1
  if (!options.cache) {
    using lent = lendCache(model, capacity, options.kv ?? 'float16')
    yield* runIn(lent.cache, model, sequence, options)
    return
  }
  const { cache, kv } = options
  if (kv !== undefined) throw new ShapeError('generate: a cache keeps what it was made for; received kv, too')
  if (cache.batch !== 1 || cache.capacity < capacity)
    throw new ShapeError(
      `generate: the cache must hold one sequence of ${capacity} tokens, the prompt's and new ones; it holds ${cache.batch} of ${cache.capacity}`,
    )
  // What another model computed says nothing to this one.
  cache.length = cache.isOf(model) ? cache.reusable(promptIds) : 0
  try {
    yield* runIn(cache, model, sequence, options)
  } finally {
    cache.note([...promptIds, ...tokenIds])
  }
}

/** Yields the tokens of a sequence, of which the cache holds some already. */
async function* runIn(
  cache: KVCache,
  model: CausalLM,
  sequence: Sequence,
  options: StreamOptions,
): AsyncGenerator<GeneratedToken> {
  const { signal } = options
  const compute = computeIn(model, computation(options))
  using step = compute(() => new DecodeStep(model, cache))
  using logits = await readPrompt(model, sequence.promptIds.slice(cache.length), cache, compute, signal)
  const tokens = sequence.isGreedy ? greedy(logits, step, sequence) : chosen(logits, step, sequence)
  for await (const token of tokens) {
    signal?.throwIfAborted()
    yield token
  }
}

/**
 * Always the likeliest token. The next step is queued, on the token that is still on the device, before this
 * one is read.
 * Since argmax stays on the device, recording overlaps with computing. The likeliest logit comes along in the
 * same read: it is NaN as soon as any is.
 */
async function* greedy(first: Tensor, step: DecodeStep, sequence: Sequence): AsyncGenerator<GeneratedToken> {
  step.feedLikeliest(first)
  let read = step.likeliest()
  while (!sequence.finishReason) {
    const current = read
    if (sequence.tokenIds.length + 1 < sequence.limit) {
      step.run()
      read = step.likeliest()
    }
    yield sequence.take(await current)
  }
}

/** Each token chosen from its logits, which are read. */
async function* chosen(first: Tensor, step: DecodeStep, sequence: Sequence): AsyncGenerator<GeneratedToken> {
  for (let logits = first; ; logits = step.logits) {
    const token = sequence.choose((await logits.read()) as Float32Array)
    yield token
    if (sequence.finishReason) return
    step.feed(token.tokenId)
    step.run()
  }
}
