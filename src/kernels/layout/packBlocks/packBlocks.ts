import { fieldLength } from '../unpackBlocks/unpackBlocks.ts'

/**
 * The inverse of unpackBlocks: the bits that the fields name, of which all have 1 or more; what else blocks
 * hold stays.
 * @param values [count, blockValues]
 * @param fields [fieldCount, 7] see unpackBlocks
 * @param blocks [count, blockBytes]
 */
export function packBlocks(
  values: Uint8Array,
  fields: Int32Array,
  fieldCount: number,
  blocks: Uint8Array,
  count: number,
  blockBytes: number,
  blockValues: number,
): void {
  for (let b = 0; b < count; b++) {
    for (let f = 0; f < fieldCount; f++) {
      const [first, step, length, at, shift, bits, from] = fields.subarray(f * fieldLength)
      const mask = 2 ** bits - 1
      for (let l = 0; l < length; l++) {
        const to = b * blockBytes + at + l
        const value = (values[b * blockValues + first + l * step] >> from) & mask
        blocks[to] = (blocks[to] & ~(mask << shift)) | (value << shift)
      }
    }
  }
}
