/**
 * Where the first token of sequence b stands: at `position`, or as far behind it as `positions` [batch] int32
 * says. A sequence that stands before 0 is left out: nothing of it is written or seen.
 */
export function firstPosition(position: number, positions: Int32Array | null, b: number): number {
  return position + (positions ? positions[b] : 0)
}
