/**
 * Codes out of the bits that a file format packs them in, one byte each. A line is a stream of codes of
 * `bits` bits, lowest bits first, in little-endian words:
 *
 *     word w of line l       packed[(l · lineWords + w · stepWords) · wordBytes …]
 *     code j of line l       codes[l · lineCodes + j · stepCodes]; passed over where that is `count` or more
 *     bits of code j         bits · j … bits · j + bits − 1 of the line's words in order; with an order,
 *                            those of the place p where order[p] = j, within each word
 *
 *     GPTQ          [K · bits / 32, N] words, codes [N, K]    lines N, lineWords 1, stepWords N, lineCodes K
 *     AWQ           [K, N / 8] words, codes [N, K]            lines K, lineWords N / 8, stepCodes K, an order
 *     quanto        bytes of 8 / bits codes, R · cols apart   lines R · cols, stepCodes R · cols
 *     bitsandbytes  bytes of two codes, the first on top      one line, the order 1 0
 *
 * @param order [codes of a word], or null
 * @param length codes of a line
 */
export function unpackCodes(
  packed: Uint8Array,
  codes: Uint8Array,
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
  for (let line = 0; line < lines; line++) {
    for (let j = 0; j < length; j++) {
      const to = line * lineCodes + j * stepCodes
      if (to >= count) continue
      let code = 0
      for (let b = 0; b < bits; b++) {
        const bit = bits * placeOf(order, j) + b
        const word = line * lineWords + Math.floor(bit / (8 * wordBytes)) * stepWords
        const byte = word * wordBytes + (Math.floor(bit / 8) % wordBytes)
        code |= ((packed[byte] >> (bit % 8)) & 1) << b
      }
      codes[to] = code
    }
  }
}

/** Where code j of a line stands in it. */
export function placeOf(order: Uint8Array | null, j: number): number {
  return order ? j - (j % order.length) + order.indexOf(j % order.length) : j
}
