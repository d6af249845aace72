/**
 * Scales quantized once more, the inverse of `unnestScale`: offset = the mean of all, values[b] = the largest
 * |scale − offset| of block b, codes[i] = that of the value of the codebook next to (scale[i] − offset) /
 * values[b].
 *
 * The mean is the sum that PyTorch computes in one thread with AVX2, divided by the count. What is nearest is
 * decided for 65536 places between −1 and 1, each of which holds the values that are rounded to it. Where all
 * scales of a block are the offset, codes are 0; what is not a number gets code 0.
 * Source: bitsandbytes 0.50, functional.py, `quantize_4bit`; csrc/cpu_ops.cpp, `quantize_cpu_impl`.
 * @param scale [count]
 * @param codebook [256] the value of each code between −1 and 1, from the smallest up
 * @param codes [count]
 * @param values [⌈count / blockSize⌉]
 * @param offset one value
 */
export function nestScale(
  scale: Float32Array,
  codebook: Float32Array,
  codes: Uint8Array,
  values: Float32Array,
  offset: Float32Array,
  count: number,
  blockSize: number,
): void {
  const mean = Math.fround(sumInVectors(scale, count) / count)
  offset[0] = mean
  for (let first = 0; first < count; first += blockSize) {
    const rest = scale.subarray(first, Math.min(first + blockSize, count)).map((value) => value - mean)
    const largest = rest.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    values[first / blockSize] = largest
    const inverse = Math.fround(1 / largest)
    for (const [i, value] of rest.entries())
      codes[first + i] = largest === 0 ? 0 : nearest(codebook, Math.fround(value * inverse))
  }
}

/** The code of the middle of the place that a number from −1 to 1 is rounded to. */
function nearest(codebook: Float32Array, unit: number): number {
  const { fround } = Math
  const half = fround(fround(Math.min(Math.max(unit, -1), 1) + 1) / 2)
  const place = Math.floor(fround(fround(half * 65535) + 0.5))
  const middle = fround(fround((2 * place) / 65535) - 1)
  const last = codebook.length - 1
  for (let code = 0; code < last; code++)
    if (!(fround(fround(codebook[code] + codebook[code + 1]) / 2) < middle)) return code
  return last
}

/**
 * Σ x as PyTorch adds up float32: vectors of 8 values (single ones, if there are fewer) go to four sums in
 * turn; after every 16 rounds a sum is carried to the next of four levels, which is carried after 16 carries
 * (after more, where there are very many).
 * Source: PyTorch, aten/src/ATen/native/cpu/SumKernel.cpp.
 */
function sumInVectors(x: Float32Array, count: number): number {
  const lanes = count < 8 ? 1 : 8
  const width = 4 * lanes
  const rounds = Math.floor(count / width)
  const power = Math.max(4, Math.floor(Math.ceil(Math.log2(Math.max(rounds, 1))) / 4))
  const levels = Array.from({ length: 4 }, () => new Float32Array(width))
  const add = (to: Float32Array, values: Float32Array) => {
    for (let i = 0; i < values.length; i++) to[i] += values[i]
  }
  for (let round = 1; round <= rounds; round++) {
    add(levels[0], x.subarray((round - 1) * width, round * width))
    for (let level = 1; level < 4 && round % 2 ** (level * power) === 0; level++) {
      add(levels[level], levels[level - 1])
      levels[level - 1].fill(0)
    }
  }
  const [sums] = levels
  for (const level of levels.slice(1)) add(sums, level)
  const vectors = Math.floor(count / lanes)
  for (let v = 4 * rounds; v < vectors; v++) add(sums, x.subarray(v * lanes, (v + 1) * lanes))
  for (let k = 1; k < 4; k++) add(sums, sums.subarray(k * lanes, (k + 1) * lanes))
  const ends = [...x.subarray(vectors * lanes, count), ...sums.subarray(0, lanes)]
  return ends.reduce((sum, value) => Math.fround(sum + value), 0)
}
