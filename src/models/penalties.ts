import { ShapeError } from '../core/errors.ts'
import { above, aNumber, wholeNumber } from '../core/kinds.ts'
import type { OptionKinds } from '../core/options.ts'

/** What tokens that were there already are given less of. */
export interface PenaltyOptions {
  /**
   * Logits of tokens of the prompt and the text are divided by it where they are positive, and multiplied
   * where they are negative; default 1, above it they come more rarely.
   * Source: Keskar et al., "CTRL", 2019.
   */
  repetitionPenalty?: number
  /** Taken from the logit of a token for each time that it is in the text, without the prompt; default 0. */
  frequencyPenalty?: number
  /** Taken from the logits of tokens that are in the text, without the prompt; default 0. */
  presencePenalty?: number
  /** No run of as many tokens comes twice, the prompt included; default 0, any may. */
  noRepeatNgramSize?: number
}

export const penaltyKinds: OptionKinds<PenaltyOptions> = {
  repetitionPenalty: above(0),
  frequencyPenalty: aNumber,
  presencePenalty: aNumber,
  noRepeatNgramSize: wholeNumber(0),
}

/** Whether options ask for any penalty. */
export function penalizes(options: PenaltyOptions): boolean {
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, noRepeatNgramSize = 0 } = options
  return repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0 || noRepeatNgramSize > 0
}

/** The tokens of a prompt and of what follows it, and how often each was there. */
export class TokenHistory {
  private readonly ids: number[]
  private readonly seen: Set<number>
  /** How often each token came after the prompt. */
  private readonly counts = new Map<number, number>()

  constructor(promptIds: readonly number[]) {
    this.ids = [...promptIds]
    this.seen = new Set(promptIds)
  }

  /** Adds a token that comes after the prompt. */
  add(id: number): void {
    this.ids.push(id)
    this.seen.add(id)
    this.counts.set(id, (this.counts.get(id) ?? 0) + 1)
  }

  /**
   * Changes the logits of the next token: repetition, frequency, presence, runs, in this order. transformers
   * has the first and the last; the other two are OpenAI's.
   * @param logits [V] float32, changed in place; −∞ for tokens that may not come
   * @throws ShapeError if none may
   */
  penalize(logits: Float32Array, options: PenaltyOptions): void {
    const {
      repetitionPenalty = 1,
      frequencyPenalty = 0,
      presencePenalty = 0,
      noRepeatNgramSize = 0,
    } = options
    if (repetitionPenalty !== 1) {
      for (const id of this.seen) {
        const logit = logits[id]
        logits[id] = logit < 0 ? logit * repetitionPenalty : logit / repetitionPenalty
      }
    }
    if (frequencyPenalty !== 0 || presencePenalty !== 0)
      for (const [id, count] of this.counts) logits[id] -= count * frequencyPenalty + presencePenalty
    if (noRepeatNgramSize === 0) return
    this.excludeRuns(logits, noRepeatNgramSize)
    if (logits.every((logit) => logit === -Infinity))
      throw new ShapeError('generate: noRepeatNgramSize must leave a token that may come; it excludes all')
  }

  /** Excludes each token that would end a run of `size` tokens that was there before. */
  private excludeRuns(logits: Float32Array, size: number): void {
    const { ids } = this
    const begun = ids.length - size + 1
    for (let start = 0; start < begun; start++) {
      let same = 0
      while (same < size - 1 && ids[start + same] === ids[begun + same]) same++
      if (same === size - 1) logits[ids[start + same]] = -Infinity
    }
  }
}
