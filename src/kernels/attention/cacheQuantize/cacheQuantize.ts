import { int8Group } from '../../quantize/quantizeRows/quantizeRows.ts'
import { firstPosition } from '../attention/positions.ts'

/**
 * codes[b, h, position + t, i] = rne(x[b, t, h, i] · 127 / max |x|), the largest of i's group: new keys (or
 * values) as int8 behind those already there, heads first, with scale = max |x| / 127 for each group.
 *
 * As in `quantizeRows`, a group that holds NaN or an infinity has codes 0 and scale NaN. Tokens behind the
 * capacity are left out: whoever keeps the last tokens in full never needs them. So are sequences that stand
 * before 0; sequence b stands at position + positions[b].
 * @param x [batch, tokens, heads, headSize] float32
 * @param codes [batch, heads, capacity, headSize] int8; other rows stay
 * @param scale [batch, heads, capacity, groups] float32; groups = ⌈headSize / groupSize⌉
 * @param positions [batch] int32, or null
 */
export function cacheQuantize(
  x: Float32Array,
  codes: Uint8Array,
  scale: Float32Array,
  positions: Int32Array | null,
  batch: number,
  tokens: number,
  heads: number,
  headSize: number,
  position: number,
  capacity: number,
  groupSize: number,
): void {
  const groups = Math.ceil(headSize / groupSize)
  for (let b = 0; b < batch; b++) {
    const start = firstPosition(position, positions, b)
    for (let t = 0; t < tokens && start >= 0 && start + t < capacity; t++) {
      for (let h = 0; h < heads; h++) {
        const from = ((b * tokens + t) * heads + h) * headSize
        const to = (b * heads + h) * capacity + start + t
        for (let g = 0; g < groups; g++) {
          const [first, end] = [g * groupSize, Math.min((g + 1) * groupSize, headSize)]
          const group = int8Group(x.subarray(from + first, from + end), 127)
          codes.set(group.codes, to * headSize + first)
          scale[to * groups + g] = group.scale
        }
      }
    }
  }
}
