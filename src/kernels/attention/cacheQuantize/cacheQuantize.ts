import type { HostArray } from '../../../core/dtype.ts'
import { decodeFloat, dtypeOfCode, encodeFloat, roundHalfEven, roundTo } from '../../../core/halves.ts'
import { firstPosition } from '../attention/positions.ts'
import { type CodeGroup, putCode, runLength, scaleIndex } from './codes.ts'

/**
 * New keys (or values) as codes behind those already there, heads first: x ≈ scale · code, or shift + scale ·
 * code.
 *
 * Without a shift codes lie in ±(2^(bits−1) − 1) and scale = max |x| / (2^(bits−1) − 1); with one, codes lie
 * in 0 … 2^bits − 1, shift = min x and scale = (max x − min x) / (2^bits − 1). Both are rounded to their
 * dtype first; then code = (x − shift) / scale rounded half to even and clamped, 0 where scale is 0. All in
 * float32, each operation rounded. A group that holds NaN or an infinity has codes 0, and scale and shift
 * NaN.
 *
 * A token has a scale for each run of 64 values; or each value has one for every `groupTokens` tokens, found
 * when the last of them comes: those before this call are in the ring `recent`, token j in slot j mod
 * residual. Codes of token j go to row j mod capacity, a multiple of `groupTokens` where there are more tokens
 * than that. Sequences that stand before 0 are left out; sequence b stands at position + positions[b].
 * Source of scales for each value: Liu et al., "KIVI", 2024, section 3.
 * @param x [batch, tokens, heads, headSize] of dtype
 * @param recent [batch, heads, residual, headSize] of dtype, or null; residual >= groupTokens − 1
 * @param codes [batch, heads, capacity, codeBytes]; codes of 4 bits in runs of 64, the second half of a run
 * in the high bits; other rows stay
 * @param scale,shift [batch, heads, capacity, ⌈headSize / 64⌉] or [batch, heads, ⌈capacity / groupTokens⌉,
 * headSize] of scaleDtype; shift or null
 * @param positions [batch] int32, or null
 * @param bits 8 or 4
 * @param groupTokens 0 where a token has its own scales; at most 64
 */
export function cacheQuantize(
  x: HostArray,
  recent: HostArray | null,
  dtype: number,
  codes: Uint8Array,
  scale: HostArray,
  shift: HostArray | null,
  scaleDtype: number,
  positions: Int32Array | null,
  batch: number,
  tokens: number,
  heads: number,
  headSize: number,
  position: number,
  capacity: number,
  residual: number,
  bits: number,
  groupTokens: number,
): void {
  const [type, scaleType] = [dtypeOfCode(dtype), dtypeOfCode(scaleDtype)]
  const [low, high] = shift ? [0, 2 ** bits - 1] : [1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1]
  const geometry = { headSize, capacity, groupTokens }
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++) {
      const [start, head] = [firstPosition(position, positions, b), b * heads + h]
      const held = (j: number, i: number) =>
        j >= start
          ? (x[((b * tokens + j - start) * heads + h) * headSize + i] as number)
          : (recent?.[(head * residual + (j % residual)) * headSize + i] as number)
      for (const group of start < 0 ? [] : groupsOf(start, tokens, geometry)) {
        const values = group.tokens.map((j) =>
          group.values.map((i) => Math.fround(decodeFloat(type, held(j, i)))),
        )
        const range = rangeOf(values.flat(), shift !== null)
        const factor = roundTo(scaleType, Math.fround(Math.fround(range[1] - range[0]) / high))
        const least = shift ? roundTo(scaleType, range[0]) : 0
        const row = group.tokens[0] % capacity
        const at = scaleIndex(head, row, group.values[0], geometry)
        scale[at] = encodeFloat(scaleType, factor)
        if (shift) shift[at] = encodeFloat(scaleType, Number.isNaN(factor) ? NaN : least)
        // An incomplete last group of rows has none to complete it.
        for (let t = 0; t < group.tokens.length && row + t < capacity; t++)
          for (const [v, i] of group.values.entries()) {
            const steps = Math.fround(Math.fround(values[t][v] - least) / factor)
            const code = factor > 0 ? Math.min(Math.max(roundHalfEven(steps), low), high) : 0
            putCode(codes, [head * capacity + row + t, i], headSize, bits, code)
          }
      }
    }
}

/** The smallest and the largest value, 0 and the largest magnitude without a shift; NaN if one is not finite. */
function rangeOf(values: readonly number[], shifted: boolean): [number, number] {
  if (!values.every(Number.isFinite)) return [NaN, NaN]
  return shifted ? [Math.min(...values), Math.max(...values)] : [0, Math.max(...values.map(Math.abs))]
}

/** The groups that `tokens` tokens from `start` on complete. */
function* groupsOf(
  start: number,
  tokens: number,
  { headSize, groupTokens }: { headSize: number; groupTokens: number },
): Generator<CodeGroup> {
  const from = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i)
  if (groupTokens === 0) {
    for (let j = start; j < start + tokens; j++)
      for (let i = 0; i < headSize; i += runLength)
        yield { tokens: [j], values: from(i, Math.min(runLength, headSize - i)) }
    return
  }
  const first = Math.floor(start / groupTokens) * groupTokens
  for (let j = first; j + groupTokens <= start + tokens; j += groupTokens)
    for (let i = 0; i < headSize; i++) yield { tokens: from(j, groupTokens), values: [i] }
}
