import { aBoolean, wholeNumber } from '../core/kinds.ts'
import type { OptionKinds } from '../core/options.ts'
import { kthLargest } from './cutoff.ts'
import { expMinus } from './expMinus.ts'

/** Which log-probabilities come with each token. */
export interface LogprobOptions {
  /**
   * Whether each token comes with its log-probability, ln softmax(logits) as the model gives them, before
   * penalties and temperature; default false.
   */
  logprobs?: boolean
  /** The same of so many of the likeliest tokens at each place; default 0. */
  topLogprobs?: number
}

export const logprobKinds: OptionKinds<LogprobOptions> = {
  logprobs: aBoolean,
  topLogprobs: wholeNumber(0),
}

/** A token and its log-probability, 0 or below. */
export interface TokenLogprob {
  tokenId: number
  logprob: number
}

/** What the logits [V] of a place say: ln softmax of any token, and of the likeliest `count`. */
export class Logprobs {
  readonly top: TokenLogprob[]
  private readonly logits: Float32Array
  private readonly logSum: number

  constructor(logits: Float32Array, count: number) {
    this.logits = logits.slice()
    let largest = -Infinity
    for (let id = 0; id < logits.length; id++) if (logits[id] > largest) largest = logits[id]
    let sum = 0
    for (let id = 0; id < logits.length; id++) sum += expMinus(largest - logits[id])
    this.logSum = largest + Math.log(sum)
    this.top = count === 0 ? [] : this.likeliest(count)
  }

  of(tokenId: number): number {
    return this.logits[tokenId] - this.logSum
  }

  /** From the likeliest down; of equal ones the first. */
  private likeliest(count: number): TokenLogprob[] {
    const { logits } = this
    const least = kthLargest(logits, count)
    const found: number[] = []
    for (let id = 0; id < logits.length; id++) if (logits[id] >= least) found.push(id)
    return found
      .sort((a, b) => logits[b] - logits[a] || a - b)
      .slice(0, count)
      .map((tokenId) => ({ tokenId, logprob: this.of(tokenId) }))
  }
}
