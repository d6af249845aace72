import { placeOf } from '../unpackCodes/unpackCodes.ts'

/**
 * The inverse of `unpackCodes`, which draws the bits: words of codes, one byte each. A line has whole words;
 * bits behind its codes, and those of codes from `count` on, are 0.
 */
export function packCodes(
  codes: Uint8Array,
  packed: Uint8Array,
  order: Uint8Array | null,
  bits: number,
  wordBytes: number,
  lines: number,
  length: number,
  lineWords: number,
  stepWords: number,
  lineCodes: number,
  stepCodes: number,
  count: number,
): void {
  const words = Math.ceil((length * bits) / (8 * wordBytes))
  for (let line = 0; line < lines; line++) {
    for (let w = 0; w < words; w++) {
      const first = (line * lineWords + w * stepWords) * wordBytes
      packed.fill(0, first, first + wordBytes)
    }
    for (let j = 0; j < length; j++) {
      const from = line * lineCodes + j * stepCodes
      if (from >= count) continue
      for (let b = 0; b < bits; b++) {
        const bit = bits * placeOf(order, j) + b
        const word = line * lineWords + Math.floor(bit / (8 * wordBytes)) * stepWords
        const byte = word * wordBytes + (Math.floor(bit / 8) % wordBytes)
        packed[byte] |= ((codes[from] >> b) & 1) << (bit % 8)
      }
    }
  }
}
