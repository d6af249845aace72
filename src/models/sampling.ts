import { ShapeError } from '../core/errors.ts'
import { atLeast, type Kind, wholeNumber, within } from '../core/kinds.ts'
import type { OptionKinds } from '../core/options.ts'
import type { Random } from '../core/random.ts'
import { cutoff, kthLargest } from './cutoff.ts'
import { expMinus } from './expMinus.ts'

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
 * The likeliest token, of equal ones the first; or the first whose logit is NaN or infinite, if there is one.
 * @param logits [V] float32; −∞ for tokens that may not come
 * @throws ShapeError if none may
 */
export function likeliest(logits: Float32Array): number {
  let best = -1
  let largest = -Infinity
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]
    // One comparison for all that is usual: NaN fails it, too.
    if (logit <= largest) continue
    best = id
    largest = logit
    if (!(logit < Infinity)) break
  }
  if (best < 0)
    throw new ShapeError('generate: one logit at least must be above −∞; received −∞ for all tokens')
  return best
}

/** The tokens that may be drawn, and how much of `total` each has. */
export interface Candidates {
  ids: Int32Array
  weights: Float64Array
  total: number
}

/** Steps of 1/16 below the largest logit in which weights are summed; the last holds all that lie lower. */
const steps = 1024

/** In which step a token lies whose weight is e^−x. */
function stepOf(x: number): number {
  return x < (steps - 1) / 16 ? (x * 16) | 0 : steps - 1
}

/**
 * The tokens that may be drawn: temperature, then top-k, then top-p, then min-p, as transformers orders them.
 * Tokens are compared with a value that is found without sorting the vocabulary: first the step of a coarse
 * scale that it lies in, then its place among the few of that step.
 * Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020 (top-p); Nguyen et al.,
 * "Turning Up the Heat: Min-p Sampling", 2024.
 * @param logits [V] float32; −∞ for tokens that may not come
 * @param largest of them
 * @throws ShapeError if no token may come
 */
export function candidates(
  logits: Float32Array,
  { temperature = 1, topK = 0, topP = 1, minP = 0 }: SamplingOptions,
  largest = logits[likeliest(logits)],
): Candidates {
  const scale = 1 / temperature
  let found: Weighted
  if (topK > 0 && topK < logits.length) {
    // As in transformers, those as likely as the last of the k may be drawn, too.
    found = gather(logits, largest, scale, kthLargest(logits, topK))
    if (topP < 1) found = nucleus(found, found.weights.slice(), topP * sumOf(found.weights), 0)
  } else if (topP < 1) found = nucleusOf(logits, largest, scale, topP)
  // The likeliest has the weight 1; a little lower, since weights are rounded.
  else found = gather(logits, largest, scale, largest + (Math.log(minP) - 1e-6) / scale)
  if (minP > 0) found = keepFrom(found, minP, Infinity)
  return { ...found, total: sumOf(found.weights) }
}

type Weighted = Omit<Candidates, 'total'>

/** The likeliest tokens that together reach the share `topP` of all weights. */
function nucleusOf(logits: Float32Array, largest: number, scale: number, topP: number): Weighted {
  const sums = new Float64Array(steps)
  for (let id = 0; id < logits.length; id++) {
    const x = (largest - logits[id]) * scale
    sums[stepOf(x)] += expMinus(x)
  }
  const limit = topP * sumOf(sums)
  let step = 0
  let above = 0
  while (step < steps - 1 && above + sums[step] < limit) above += sums[step++]
  // Above this step all are in it, below none; a little lower, since its bounds are rounded.
  const least = step === steps - 1 ? -Infinity : largest - ((step + 1) / 16 + 1e-6) / scale
  const found = gather(logits, largest, scale, least)
  const heaviest = expMinus(step / 16)
  const last = new Float64Array(found.weights.length)
  let count = 0
  for (let i = 0; i < last.length; i++) if (found.weights[i] <= heaviest) last[count++] = found.weights[i]
  return nucleus(found, last.subarray(0, count), limit, above)
}

/**
 * The likeliest tokens that together reach the weight `limit`, at least one; of equal ones the first.
 * @param last the weights among which it is reached, in any order; changed
 * @param above the sum of those that are larger
 */
function nucleus(all: Weighted, last: Float64Array, limit: number, above: number): Weighted {
  const least = cutoff(last, limit - above, 'sum')
  let larger = 0
  for (let i = 0; i < all.weights.length; i++) if (all.weights[i] > least) larger += all.weights[i]
  return keepFrom(all, least, Math.max(Math.ceil((limit - larger) / least), 1))
}

/** The tokens whose logits are `least` or more, with their weights exp((logit − largest) · scale). */
function gather(logits: Float32Array, largest: number, scale: number, least: number): Weighted {
  let ids = new Int32Array(1024)
  let weights = new Float64Array(1024)
  let count = 0
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]
    if (logit < least) continue
    if (count === ids.length) {
      ids = grown(ids, new Int32Array(2 * count))
      weights = grown(weights, new Float64Array(2 * count))
    }
    ids[count] = id
    weights[count++] = expMinus((largest - logit) * scale)
  }
  return { ids: ids.subarray(0, count), weights: weights.subarray(0, count) }
}

function grown<Values extends Int32Array | Float64Array>(values: Values, larger: Values): Values {
  larger.set(values)
  return larger
}

function sumOf(values: Float64Array): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]
  return sum
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

/** Tokens whose weights are summed before one of them is looked for. */
const stretch = 256

/**
 * Draws a token.
 * @param logits as of `candidates`
 */
export function sample(
  logits: Float32Array,
  options: SamplingOptions,
  random: Random,
  largest = logits[likeliest(logits)],
): number {
  const { temperature = 1, topK = 0, topP = 1, minP = 0 } = options
  if (topK > 0 || topP < 1 || minP > 0) return draw(candidates(logits, options, largest), random)
  // Of all tokens no list has to be made.
  const scale = 1 / temperature
  const sums = new Float64Array(Math.ceil(logits.length / stretch))
  for (let i = 0; i < sums.length; i++) {
    const end = Math.min((i + 1) * stretch, logits.length)
    let sum = 0
    for (let id = i * stretch; id < end; id++) sum += expMinus((largest - logits[id]) * scale)
    sums[i] = sum
  }
  let rest = random.uniform() * sumOf(sums)
  let at = 0
  while (at < sums.length - 1 && rest >= sums[at]) rest -= sums[at++]
  let last = at * stretch
  for (let id = last; id < logits.length && rest >= 0; id++) {
    const weight = expMinus((largest - logits[id]) * scale)
    if (weight === 0) continue
    last = id
    rest -= weight
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
