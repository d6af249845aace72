/**
 * The value at which values, counted from the largest down, have gathered `amount`: 1 for each, or each its
 * own value, where it must be 0 or more. The smallest value if all together do not.
 * Halves the values around a pivot until one is left, as Hoare's "Find" (1961) does: n steps in the mean,
 * without sorting them; they are left in another order.
 */
export function cutoff(values: Float64Array, amount: number, gather: 'count' | 'sum'): number {
  const byCount = gather === 'count'
  let missing = amount
  let from = 0
  let to = values.length
  while (to - from > 1) {
    const pivot = median(values[from], values[(from + to) >> 1], values[to - 1])
    // Larger ones to the front, smaller ones to the back: from … above … below … to.
    let above = from
    let below = to
    let larger = 0
    for (let i = from; i < below; ) {
      const value = values[i]
      if (value > pivot) {
        larger += byCount ? 1 : value
        values[i++] = values[above]
        values[above++] = value
      } else if (value < pivot) {
        values[i] = values[--below]
        values[below] = value
      } else i++
    }
    const same = (below - above) * (byCount ? 1 : pivot)
    if (larger >= missing) to = above
    else if (larger + same >= missing || below === to) return pivot
    else {
      missing -= larger + same
      from = below
    }
  }
  return values[from]
}

function median(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c))
}

/**
 * The k-th largest of values, −∞ if there are fewer: in one pass that keeps what may be among them, and
 * leaves out most at a single comparison.
 */
export function kthLargest(values: Float32Array, k: number): number {
  const held = new Float64Array(Math.max(4 * k, 256))
  let count = 0
  let least = -Infinity
  for (let i = 0; i < values.length; i++) {
    if (values[i] <= least) continue
    held[count++] = values[i]
    if (count < held.length) continue
    least = +cutoff(held, k, 'count')
    count = 0
    for (let j = 0; j < held.length; j++) if (held[j] > least) held[count++] = held[j]
    while (count < k) held[count++] = least
  }
  return count < k ? -Infinity : cutoff(held.subarray(0, count), k, 'count')
}
