import type { ComputeDType } from '../qtensor/computeDtype.ts'
import type { TokenLogprob } from './logprobs.ts'
import type { FinishReason, GeneratedToken, Sequence } from './sequence.ts'

/** What was written behind a prompt, and how fast. */
export interface Generation {
  /** The new text, without the prompt. */
  text: string
  /** The new tokens; a token that ends the text, and those of a stop string, are the last of them. */
  tokenIds: number[]
  finishReason: FinishReason
  /** With `logprobs` or `topLogprobs`: those of each new token. */
  logprobs?: (TokenLogprob & { topLogprobs?: TokenLogprob[] })[]
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

/** Notes the tokens of a sequence as they come, and when. */
export class GenerationRecord {
  private readonly started = performance.now()
  private firstMs = 0
  private lastMs = 0
  private readonly logprobs: NonNullable<Generation['logprobs']> = []

  add({ tokenId, logprob, topLogprobs }: GeneratedToken): void {
    this.lastMs = performance.now() - this.started
    this.firstMs ||= this.lastMs
    if (logprob !== undefined)
      this.logprobs.push({ tokenId, logprob, ...(topLogprobs === undefined ? {} : { topLogprobs }) })
  }

  /** What became of the sequence. */
  generation(sequence: Sequence, computeDtype: ComputeDType): Generation {
    const { text, tokenIds, promptIds, finishReason = 'length' } = sequence
    const { firstMs, lastMs, logprobs } = this
    const later = tokenIds.length - 1
    return {
      text,
      tokenIds,
      finishReason,
      ...(logprobs.length > 0 ? { logprobs } : {}),
      promptTokens: promptIds.length,
      prefillTokensPerSecond: firstMs > 0 ? (1000 * promptIds.length) / firstMs : 0,
      decodeTokensPerSecond: later > 0 ? (1000 * later) / (lastMs - firstMs) : 0,
      firstTokenMs: firstMs,
      computeDtype,
    }
  }
}
