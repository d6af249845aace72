/**
 * The range that an empty histogram starts from, and the last that is doubled: powers of two, so that bins
 * are merged exactly.
 */
export const [smallestRange, largestRange] = [2 ** -100, 2 ** 127]

/**
 * Counts magnitudes: counts[⌊|x| · bins / range⌋] += 1 for every value, those at the range or above in the
 * last bin.
 *
 * The range is doubled, and neighbouring bins merged, until it holds the largest magnitude; so the histogram
 * depends on the values alone, not on how they came in batches. A NaN or an infinity becomes the largest
 * magnitude and stops the counting.
 * Source: the growing of ranges is that of PyTorch's `HistogramObserver`, with powers of two.
 * @param x [count] float32
 * @param counts [bins] int32, bins even
 * @param range [2] float32: the range, at first `smallestRange`, and the largest magnitude, at first 0
 */
export function magnitudeHistogram(
  x: Float32Array,
  counts: Int32Array,
  range: Float32Array,
  count: number,
  bins: number,
): void {
  let largest = range[1]
  for (let i = 0; i < count; i++) largest = Math.max(largest, Math.abs(x[i]))
  range[1] = largest
  if (!Number.isFinite(largest)) return
  while (range[0] < largest && range[0] < largestRange) {
    range[0] *= 2
    for (let b = 0; b < bins; b++) counts[b] = b < bins / 2 ? counts[2 * b] + counts[2 * b + 1] : 0
  }
  for (let i = 0; i < count; i++) counts[Math.min(Math.floor(Math.abs(x[i]) * (bins / range[0])), bins - 1)]++
}
