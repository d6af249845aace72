import type { PartReader } from './scheme.ts'

/**
 * The inputs in the order of their groups, as GPTQ's act-order stores the group of each; null where they
 * stand so.
 * @param part holds them, [in] int32
 * @param size inputs of a group
 * @throws FormatError unless every group has so many inputs, the last one the rest
 */
export async function columnOrder(parts: PartReader, part: string, size: number): Promise<Int32Array | null> {
  // A copy, since a view of 32 bits needs its bytes aligned.
  const groups = new Int32Array(new Uint8Array(await parts.bytes(part)).buffer)
  if (groups.every((group, i) => group === Math.floor(i / size))) return null
  const order = Int32Array.from(groups.keys()).sort((a, b) => groups[a] - groups[b] || a - b)
  const wrong = order.findIndex((column, j) => groups[column] !== Math.floor(j / size))
  if (wrong < 0) return order
  const last = Math.ceil(groups.length / size) - 1
  throw parts.error(
    part,
    `must put ${size} inputs into each group from 0 to ${last}; input ${order[wrong]} is in group ${groups[order[wrong]]}`,
  )
}
