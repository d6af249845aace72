/** How many numbers a field has in `fields`. */
export const fieldLength = 7

/**
 * Small integers out of blocks of bytes that hold several kinds of them, one byte each. A field says where
 * `count` of them, or some of their bits, lie: those of value first + l · step in byte at + l of the block.
 *
 *     fields     first, step, count, at, shift, bits, from    of each
 *     value      (byte >> shift mod 2^bits) << from
 *     value      ⌊3 · (byte · 3^shift mod 256) / 256⌋         with bits 0: a digit of a fraction to base 3
 *
 * A field with from 0 comes first for each value; those behind it add their bits.
 * @param blocks [count, blockBytes]
 * @param fields [fieldCount, 7]
 * @param values [count, blockValues]
 */
export function unpackBlocks(
  blocks: Uint8Array,
  fields: Int32Array,
  fieldCount: number,
  values: Uint8Array,
  count: number,
  blockBytes: number,
  blockValues: number,
): void {
  for (let b = 0; b < count; b++) {
    for (let f = 0; f < fieldCount; f++) {
      const [first, step, length, at, shift, bits, from] = fields.subarray(f * fieldLength)
      for (let l = 0; l < length; l++) {
        const byte = blocks[b * blockBytes + at + l]
        const to = b * blockValues + first + l * step
        const digit = bits === 0 ? (3 * ((byte * 3 ** shift) % 256)) >> 8 : (byte >> shift) % 2 ** bits
        values[to] = from === 0 ? digit : values[to] | (digit << from)
      }
    }
  }
}
