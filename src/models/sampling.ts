import { ShapeError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'

export interface SamplingOptions {
  /** Divides the logits; 0 (the default) always takes the likeliest token. */
  temperature?: number
  /** Only the k likeliest tokens may be drawn; 0 (the default) allows all. */
  topK?: number
  /** Only the likeliest tokens that together reach this probability may be drawn; default 1, all. */
  topP?: number
}

/** @throws ShapeError if an option lies outside its range. */
export function checkSampling({ temperature = 0, topK = 0, topP = 1 }: SamplingOptions): void {
  if (!(temperature >= 0 && Number.isFinite(temperature)))
    throw new ShapeError(`generate: temperature must be 0 or more; received ${temperature}`)
  if (!(Number.isInteger(topK) && topK >= 0)) throw new ShapeError(`generate: topK must be a whole number, 0 or more; received ${topK}`)
  if (!(topP > 0 && topP <= 1)) throw new ShapeError(`generate: topP must lie above 0 and at most at 1; received ${topP}`)
}

/**
 * Draws a token: temperature, then top-k, then top-p, as transformers orders them.
 * Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020 (top-p).
 * @param logits [V] float32
 */
export function sample(logits: Float32Array, { temperature = 1, topK = 0, topP = 1 }: SamplingOptions, random: Random): number {
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
