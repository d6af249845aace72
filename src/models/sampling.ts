import { atLeast, type Kind, wholeNumber } from '../core/kinds.ts'
import type { OptionKinds } from '../core/options.ts'
import type { Random } from '../core/random.ts'

export interface SamplingOptions {
  /** Divides the logits; 0 (the default) always takes the likeliest token. */
  temperature?: number
  /** Only the k likeliest tokens may be drawn; 0 (the default) allows all. */
  topK?: number
  /** Only the likeliest tokens that together reach this probability may be drawn; default 1, all. */
  topP?: number
}

const aShare: Kind = {
  must: 'be a number above 0 and at most 1',
  holds: (value) => typeof value === 'number' && value > 0 && value <= 1,
}

export const samplingKinds: OptionKinds<SamplingOptions> = {
  temperature: atLeast(0),
  topK: wholeNumber(0),
  topP: aShare,
}

/**
 * Draws a token: temperature, then top-k, then top-p, as transformers orders them.
 * Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020 (top-p).
 * @param logits [V] float32
 */
export function sample(
  logits: Float32Array,
  { temperature = 1, topK = 0, topP = 1 }: SamplingOptions,
  random: Random,
): number {
  const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b)
  const candidates = topK > 0 ? order.slice(0, topK) : order
  const largest = logits[candidates[0]]
  const weights = candidates.map((id) => Math.exp((logits[id] - largest) / temperature))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  // The nucleus: the first tokens whose probabilities sum to topP, at least one.
  let count = 0
  let mass = 0
  while (count < weights.length && (count === 0 || mass < topP * total)) mass += weights[count++]
  let draw = random.uniform() * mass
  for (let i = 0; i < count; i++) {
    draw -= weights[i]
    if (draw < 0) return candidates[i]
  }
  return candidates[count - 1]
}
