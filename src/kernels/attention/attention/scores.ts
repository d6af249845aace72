/** Which keys the queries of a sequence see, as the attention kernels take it. */
export interface Mask {
  /** [batch, 2] int32: the keys of each sequence, from its first to before its end; null for all. */
  ranges: Int32Array | null
  /** Keys that there are. */
  capacity: number
  /** Whether a query sees no key after its own. */
  causal: boolean
  /** Keys that a causal query sees at most, its own the last of them; 0 for all. */
  window: number
}

/** The keys that the query at `position` of sequence b sees: from the first to before the end. */
export function seenKeys(
  { ranges, capacity, causal, window }: Mask,
  b: number,
  position: number,
): [first: number, end: number] {
  const [low, high] = ranges
    ? [Math.max(ranges[2 * b], 0), Math.min(ranges[2 * b + 1], capacity)]
    : [0, capacity]
  if (!causal) return [low, high]
  return [window > 0 ? Math.max(low, position + 1 - window) : low, Math.min(high, position + 1)]
}

/** softcap · tanh(score / softcap), or the score if softcap is 0. */
export function capped(score: number, softcap: number): number {
  return softcap === 0 ? score : softcap * Math.tanh(score / softcap)
}

/**
 * softmax(scores), of which the sink is one more that weighs and gives nothing; zeros where no score is above
 * −∞.
 */
export function softmaxOf(scores: ArrayLike<number>, sink = -Infinity): Float64Array {
  const all = Float64Array.from(scores)
  const max = all.reduce((largest, score) => Math.max(largest, score), sink)
  if (max === -Infinity) return all.fill(0)
  const weights = all.map((score) => Math.exp(score - max))
  const total = weights.reduce((sum, weight) => sum + weight, Math.exp(sink - max))
  return weights.map((weight) => weight / total)
}
