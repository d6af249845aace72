import { DTypeError, ShapeError } from '../core/errors.ts'
import { aBoolean, aString, either, type Kind, listOf, wholeNumber } from '../core/kinds.ts'
import type { OptionKinds } from '../core/options.ts'
import { Random } from '../core/random.ts'
import type { CausalLM } from './causalLM.ts'
import { type LogprobOptions, Logprobs, logprobKinds, type TokenLogprob } from './logprobs.ts'
import { type PenaltyOptions, penalizes, penaltyKinds, TokenHistory } from './penalties.ts'
import { likeliest, type SamplingOptions, sample, samplingKinds } from './sampling.ts'
import { TextStream } from './textStream.ts'

/** How tokens are chosen, and where the text ends. */
export interface SequenceOptions extends SamplingOptions, PenaltyOptions, LogprobOptions {
  /** At most this many tokens; default 128. The model's own context may end it earlier. */
  maxNewTokens?: number
  /** Seed of the draws when `temperature` is above 0; default 0. */
  seed?: number
  /** Whether to end at the model's end-of-text tokens; default true. */
  stopAtEos?: boolean
  /** Tokens that end the text, too; the one that came is the last token. */
  stopTokenIds?: readonly number[]
  /** Texts at which generation ends; the text ends before the first of them. */
  stopStrings?: string | readonly string[]
  /**
   * Whether special tokens that are spelled in a prompt given as text are those tokens; default false: what a
   * user typed cannot end a turn. Prompts that a chat template wrote come as ids, from `encodeChat`.
   */
  parseSpecialTokens?: boolean
}

const aStopString: Kind = { must: '', holds: (value) => typeof value === 'string' && value !== '' }

export const sequenceKinds: OptionKinds<SequenceOptions> = {
  ...samplingKinds,
  ...penaltyKinds,
  ...logprobKinds,
  maxNewTokens: wholeNumber(0),
  seed: wholeNumber(-Infinity),
  stopAtEos: aBoolean,
  stopTokenIds: listOf('token ids', wholeNumber(0)),
  parseSpecialTokens: aBoolean,
  stopStrings: either('be a text or a list of texts, none empty', aStopString, listOf('', aStopString)),
}

/** A text, or its tokens. */
export type Prompt = string | readonly number[]

export const someTokenIds: Kind = listOf('token ids', wholeNumber(0))
export const aPrompt: Kind = either('be a text or a list of token ids', aString, someTokenIds)

/**
 * The token ids of a prompt.
 * @throws DTypeError if it is a text and the model has no tokenizer
 */
export function promptTokens(
  { tokenizer }: CausalLM,
  prompt: Prompt,
  { parseSpecialTokens = false }: SequenceOptions,
): readonly number[] {
  if (typeof prompt !== 'string') return prompt
  if (!tokenizer) throw new DTypeError('generate: the model has no tokenizer; pass token ids')
  return tokenizer.encode(prompt, { parseSpecialTokens })
}

/** Why a text ended: at an end-of-text token, a stop token or a stop string; or at its greatest length. */
export type FinishReason = 'stop' | 'length'

/** A token as it comes. */
export interface GeneratedToken {
  tokenId: number
  /** What can be told of the text now: the pieces of all tokens are the text. '' without a tokenizer. */
  text: string
  /** With `logprobs`: its log-probability. */
  logprob?: number
  /** With `topLogprobs`: the likeliest tokens of this place, from the likeliest down. */
  topLogprobs?: TokenLogprob[]
}

/** @throws ShapeError if more is asked for than a fused model keeps room for */
function checkFits({ fuseMaxSeqLen = Infinity }: CausalLM, prompt: number, maxNewTokens = 1): void {
  if (prompt + maxNewTokens <= fuseMaxSeqLen) return
  throw new ShapeError(
    `generate: prompt and new tokens must fit into the ${fuseMaxSeqLen} tokens of fuseMaxSeqLen; received ${prompt} and ${maxNewTokens}`,
  )
}

/** A prompt and what has come after it: chooses each token, and says what it adds to the text and when it ends. */
export class Sequence {
  readonly promptIds: readonly number[]
  readonly tokenIds: number[] = []
  /** The most tokens that may come. */
  readonly limit: number
  /** Whether the likeliest token is always the next: nothing but that must be known of logits. */
  readonly isGreedy: boolean
  /** Once no further token comes. */
  finishReason: FinishReason | undefined
  private readonly options: SequenceOptions
  private readonly stopTokens: ReadonlySet<number>
  private readonly stream: TextStream | undefined
  private readonly history: TokenHistory | undefined
  private readonly random: Random

  /**
   * @param withText whether tokens come with their text, if the model has a tokenizer
   * @throws ShapeError if the prompt is empty or longer than the model's context
   */
  constructor(
    model: CausalLM,
    promptIds: readonly number[],
    options: SequenceOptions,
    { withText = true }: { withText?: boolean } = {},
  ) {
    const { maxPositions } = model.config
    if (promptIds.length === 0)
      throw new ShapeError('generate: the prompt must have at least one token; received none')
    if (promptIds.length > maxPositions) {
      throw new ShapeError(
        `generate: the prompt must fit into the model's context of ${maxPositions} tokens; received ${promptIds.length}`,
      )
    }
    const { maxNewTokens = 128, temperature = 0, stopAtEos = true, stopTokenIds = [] } = options
    const stopStrings = [options.stopStrings ?? []].flat()
    const { tokenizer } = model
    if (stopStrings.length > 0 && !tokenizer)
      throw new DTypeError('generate: the model has no tokenizer, which stopStrings need')
    checkFits(model, promptIds.length, options.maxNewTokens)
    this.promptIds = promptIds
    this.options = options
    const room = Math.min(maxPositions + 1, model.fuseMaxSeqLen ?? Infinity) - promptIds.length
    this.limit = Math.min(maxNewTokens, room)
    this.stopTokens = new Set([...(stopAtEos ? model.eosTokenIds : []), ...stopTokenIds])
    if (tokenizer && (withText || stopStrings.length > 0))
      this.stream = new TextStream(tokenizer, stopStrings)
    if (penalizes(options)) this.history = new TokenHistory(promptIds)
    this.isGreedy = temperature === 0 && !this.history && !this.hasLogprobs
    this.random = new Random(options.seed ?? 0)
    if (this.limit === 0) this.finishReason = 'length'
  }

  /** The text that came. */
  get text(): string {
    return this.stream?.text ?? ''
  }

  private get hasLogprobs(): boolean {
    return this.options.logprobs === true || (this.options.topLogprobs ?? 0) > 0
  }

  /**
   * Chooses the next token.
   * @param logits [V] float32, which are changed
   * @throws DTypeError if one is NaN or infinite
   */
  choose(logits: Float32Array): GeneratedToken {
    let best = likeliest(logits)
    this.checkLogit(logits[best])
    const { temperature = 0, topLogprobs = 0 } = this.options
    const logprobs = this.hasLogprobs ? new Logprobs(logits, topLogprobs) : undefined
    if (this.history) {
      this.history.penalize(logits, this.options)
      best = likeliest(logits)
    }
    const id = temperature > 0 ? sample(logits, this.options, this.random, logits[best]) : best
    const token = this.add(id)
    if (logprobs) token.logprob = logprobs.of(id)
    if (logprobs && topLogprobs > 0) token.topLogprobs = logprobs.top
    return token
  }

  /**
   * Adds the likeliest token, where that is always the next.
   * @throws DTypeError if its logit is NaN, as it is as soon as any is, or infinite
   */
  take({ id, logit }: { id: number; logit: number }): GeneratedToken {
    this.checkLogit(logit)
    return this.add(id)
  }

  private add(id: number): GeneratedToken {
    const { tokenIds, stream } = this
    tokenIds.push(id)
    this.history?.add(id)
    let text = stream?.next(id) ?? ''
    if (stream?.stopped || this.stopTokens.has(id)) this.finishReason = 'stop'
    else if (tokenIds.length === this.limit) this.finishReason = 'length'
    // What more tokens might have changed.
    if (stream && this.finishReason) text += stream.rest()
    if (stream?.stopped) this.finishReason = 'stop'
    return { tokenId: id, text }
  }

  private checkLogit(logit: number): void {
    if (logit < Infinity) return
    const received = Number.isNaN(logit) ? 'NaN' : 'infinite'
    throw new DTypeError(
      `generate: logits must be finite; those of new token ${this.tokenIds.length + 1} are ${received}: a weight or an activation overflows its dtype`,
    )
  }
}
