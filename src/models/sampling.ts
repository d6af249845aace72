import { ShapeError } from '../core/errors.ts'
import { atLeast, type Kind, wholeNumber, within } from '../core/kinds.ts'
import type { OptionKinds } from '../core/options.ts'
import type { Random } from '../core/random.ts'
import { cutoff } from './cutoff.ts'

/** Which tokens may be drawn, and how freely. */
export interface SamplingOptions {
  /** Divides the logits; 0 (the default) always takes the likeliest token. */
  temperature?: number
  /** Only the k likeliest tokens may be drawn; 0 (the default) allows all. At temperature 0 it changes nothing. */
  topK?: number
  /**
   * Only the likeliest tokens that together reach this probability may be drawn; default 1, all. At
   * temperature 0 it changes nothing.
   */
  topP?: number
  /**
   * Only tokens that are this share as probable as the likeliest may be drawn; default 0, all. At temperature
   * 0 it changes nothing.
   */
  minP?: number
}

const aShare: Kind = {
  must: 'be a number above 0 and at most 1',
  holds: (value) => typeof value === 'number' && value > 0 && value <= 1,
}

export const samplingKinds: OptionKinds<SamplingOptions> = {
  temperature: atLeast(0),
  topK: wholeNumber(0),
  topP: aShare,
  minP: within(0, 1),
}

/**
 * The likeliest token, of equal ones the first.
 * @param logits [V] float32; −∞ for tokens that may not come
 * @throws ShapeError if none may
 */
export function likeliest(logits: Float32Array): number {
  let best = 0
  for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id
  if (logits[best] === -Infinity)
    throw new ShapeError('generate: one logit at least must be above −∞; received −∞ for all tokens')
  return best
}

/** The tokens that may be drawn, and how much of `total` each has. */
export interface Candidates {
  ids: Int32Array
  weights: Float64Array
  total: number
}

/**
 * The tokens that may be drawn: temperature, then top-k, then top-p, then min-p, as transformers orders them.
 * Tokens are compared with a value that is found without sorting the vocabulary.
 * Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020 (top-p); Nguyen et al.,
 * "Turning Up the Heat: Min-p Sampling", 2024.
 * @param logits [V] float32; −∞ for tokens that may not come
 * @throws ShapeError if no token may come
 */
export function candidates(
  logits: Float32Array,
  { temperature = 1, topK = 0, topP = 1, minP = 0 }: SamplingOptions,
): Candidates {
  const largest = logits[likeliest(logits)]
  const isCut = topK > 0 && topK < logits.length
  // As in transformers, those as likely as the last of the k may be drawn, too.
  const least = isCut ? cutoff(new Float64Array(logits), topK, 'count') : -Infinity
  let total = 0
  let count = 0
  for (let id = 0; id < logits.length; id++) {
    if (logits[id] < least) continue
    total += Math.exp((logits[id] - largest) / temperature)
    count++
  }
  // Together, tokens below this weight have less than top-p leaves out: none of them is in the nucleus.
  const lightest = topP < 1 ? ((1 - topP) * total) / count : 0
  let found = gather(logits, { largest, temperature, least, lightest, count })
  if (topP < 1) found = nucleus(found, topP * total)
  // The likeliest has the weight 1.
  if (minP > 0) found = keepFrom(found, minP, Infinity)
  return { ...found, total: sumOf(found.weights) }
}

/** The tokens whose logits are `least` or more, and whose weights exp((logit − largest) / t) `lightest` or more. */
function gather(
  logits: Float32Array,
  at: { largest: number; temperature: number; least: number; lightest: number; count: number },
): Weighted {
  const ids = new Int32Array(at.count)
  const weights = new Float64Array(at.count)
  // Not to compute the weights of those that lie far below.
  const least = Math.max(at.least, at.largest + at.temperature * (Math.log(at.lightest) - 1))
  let count = 0
  for (let id = 0; id < logits.length; id++) {
    if (logits[id] < least) continue
    const weight = Math.exp((logits[id] - at.largest) / at.temperature)
    if (weight < at.lightest) continue
    ids[count] = id
    weights[count++] = weight
  }
  return { ids: ids.subarray(0, count), weights: weights.subarray(0, count) }
}

type Weighted = Omit<Candidates, 'total'>

function sumOf(values: Float64Array): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]
  return sum
}

/** The likeliest tokens that together reach the weight `limit`, at least one; of equal ones the first. */
function nucleus(all: Weighted, limit: number): Weighted {
  const least = cutoff(all.weights.slice(), limit, 'sum')
  let above = 0
  for (const weight of all.weights) if (weight > least) above += weight
  return keepFrom(all, least, Math.max(Math.ceil((limit - above) / least), 1))
}

/** The tokens of a weight above `least`, and the first `same` of those that have it. Changes them in place. */
function keepFrom({ ids, weights }: Weighted, least: number, same: number): Weighted {
  let count = 0
  let left = same
  for (let i = 0; i < ids.length; i++) {
    if (weights[i] < least || (weights[i] === least && left-- <= 0)) continue
    ids[count] = ids[i]
    weights[count++] = weights[i]
  }
  return { ids: ids.subarray(0, count), weights: weights.subarray(0, count) }
}

/**
 * Draws a token.
 * @param logits as of `candidates`
 */
export function sample(logits: Float32Array, options: SamplingOptions, random: Random): number {
  const { temperature = 1, topK = 0, topP = 1, minP = 0 } = options
  if (topK > 0 || topP < 1 || minP > 0) return draw(candidates(logits, options), random)
  // Of all tokens no list has to be made.
  const largest = logits[likeliest(logits)]
  const weight = (id: number) => Math.exp((logits[id] - largest) / temperature)
  let rest = 0
  for (let id = 0; id < logits.length; id++) rest += weight(id)
  rest *= random.uniform()
  let last = 0
  for (let id = 0; id < logits.length && rest >= 0; id++) {
    if (logits[id] === -Infinity) continue
    last = id
    rest -= weight(id)
  }
  return last
}

/** Draws one of the candidates. */
export function draw({ ids, weights, total }: Candidates, random: Random): number {
  let rest = random.uniform() * total
  let last = 0
  for (let i = 0; i < ids.length; i++) {
    if (weights[i] === 0) continue
    last = i
    rest -= weights[i]
    if (rest < 0) break
  }
  return ids[last]
}
