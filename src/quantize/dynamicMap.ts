/**
 * The 256 values that a scale is quantized to once more, from the smallest up: 0, 1, and ± the middles of
 * 2^e equal parts of 0.1 … 1, times 10^(e − 6), e = 0 … 6, so that small values lie close together. The ends
 * of the parts, their middles and the products are rounded to float32, as PyTorch computes them.
 * Source: bitsandbytes 0.50, functional.py, `create_dynamic_map`; Dettmers 2015, arXiv 1511.04561.
 */
export function dynamicMap(): Float32Array {
  const { fround } = Math
  const [low, high] = [fround(0.1), 1]
  const positive = Array.from({ length: 7 }, (_, e) => {
    const parts = 2 ** e
    const step = fround(fround(high - low) / parts)
    // Counted from the nearer end.
    const end = (i: number) =>
      fround(i < Math.floor((parts + 1) / 2) ? low + step * i : high - step * (parts - i))
    const middle = (i: number) => fround(fround(end(i) + end(i + 1)) / 2)
    return Array.from({ length: parts }, (_, i) => fround(middle(i) * fround(10 ** (e - 6))))
  }).flat()
  return Float32Array.from([0, 1, ...positive, ...positive.map((value) => -value)]).sort()
}
