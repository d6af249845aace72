import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, toNumbers } from '../../../core/halves.ts'

/** What the largest magnitude of a block is raised to before anything is divided by it. */
const least = Math.fround(1e-38)

/**
 * scale[b] = max |x| of block b, codes[i] = the one of the nearest to x[i] / scale[b] in the codebook: blocks
 * of values of the flattened x, each with its largest magnitude at ±1.
 *
 * A value halfway between two of the codebook gets the smaller; of codes with equal values (the two zeros of
 * fp4) the first is smaller. Values of whole blocks are multiplied by 1 / scale, those of a last block that
 * is shorter are divided, and its scale is never below 1e-38: as bitsandbytes computes it on CPUs. A block
 * that holds NaN gets NaN as its scale, and what is not a number the code of the largest value.
 * Source: bitsandbytes 0.50, backends/default/ops.py, `quantize_4bit`.
 * @param x [count] float32, float16 or bfloat16
 * @param codebook [16] the value of each code, between −1 and 1
 * @param codes [count] one byte each
 * @param scale [⌈count / blockSize⌉]
 */
export function quantizeCodebook(
  x: HostArray,
  dtype: number,
  codebook: Float32Array,
  codes: Uint8Array,
  scale: Float32Array,
  count: number,
  blockSize: number,
): void {
  const values = toNumbers(dtypeOfCode(dtype), x)
  // Sorting is stable.
  const order = [...codebook.keys()].sort((a, b) => codebook[a] - codebook[b])
  const bounds = order.slice(1).map((code, i) => Math.fround((codebook[order[i]] + codebook[code]) / 2))
  for (let first = 0; first < count; first += blockSize) {
    const end = Math.min(first + blockSize, count)
    const whole = end - first === blockSize
    let largest = 0
    for (let i = first; i < end; i++) largest = Math.max(largest, Math.abs(values[i]))
    const divisor = Math.max(largest, least)
    const inverse = Math.fround(1 / divisor)
    scale[first / blockSize] = whole ? largest : divisor
    for (let i = first; i < end; i++) {
      const unit = Math.fround(whole ? values[i] * inverse : values[i] / divisor)
      const place = bounds.findIndex((bound) => unit <= bound)
      codes[i] = order[place < 0 ? bounds.length : place]
    }
  }
}
