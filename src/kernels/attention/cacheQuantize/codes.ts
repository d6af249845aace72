/** Values of a head that share a scale where a token has its own, and that are packed together. */
export const runLength = 64

/** Bytes of a head's codes of one token. */
export function codeBytes(headSize: number, bits: number): number {
  if (bits === 8) return headSize
  return Math.floor(headSize / runLength) * (runLength / 2) + Math.ceil((headSize % runLength) / 2)
}

/**
 * Where code i of a row lies: its byte, and by how many bits it is shifted there. Codes of 4 bits go in runs
 * of 64: the first half of a run in the low bits of as many bytes, the second half in the high ones.
 */
function placeOf(headSize: number, bits: number, i: number): [byte: number, shift: number] {
  if (bits === 8) return [i, 0]
  const [run, at] = [Math.floor(i / runLength), i % runLength]
  const half = Math.ceil(Math.min(runLength, headSize - run * runLength) / 2)
  return [run * (runLength / 2) + (at % half), at < half ? 0 : 4]
}

/** Code i of a row of codes: signed of 8 bits, unsigned of 4. */
export function codeAt(codes: Uint8Array, row: number, headSize: number, bits: number, i: number): number {
  const [byte, shift] = placeOf(headSize, bits, i)
  const held = codes[row * codeBytes(headSize, bits) + byte]
  return bits === 8 ? (held << 24) >> 24 : (held >> shift) & 15
}

/** Puts code i into a row of codes. Where a run is odd, the high bits of the last byte are 0. */
export function putCode(
  codes: Uint8Array,
  [row, i]: readonly [number, number],
  headSize: number,
  bits: number,
  code: number,
): void {
  const [byte, shift] = placeOf(headSize, bits, i)
  const at = row * codeBytes(headSize, bits) + byte
  const inRun = Math.min(runLength, headSize - i + (i % runLength))
  const isAlone = inRun % 2 === 1 && i % runLength === (inRun - 1) / 2
  const other = isAlone ? 0 : codes[at] & (shift === 0 ? 0xf0 : 0x0f)
  codes[at] = bits === 8 ? code : other | (code << shift)
}

/**
 * Which scale serves value i of a head's token: a token's own for each run of 64 values, or with `groupTokens`
 * that of the value over so many tokens.
 */
export function scaleIndex(
  head: number,
  token: number,
  i: number,
  { headSize, capacity, groupTokens }: { headSize: number; capacity: number; groupTokens: number },
): number {
  if (groupTokens > 0)
    return (head * Math.ceil(capacity / groupTokens) + Math.floor(token / groupTokens)) * headSize + i
  return (head * capacity + token) * Math.ceil(headSize / runLength) + Math.floor(i / runLength)
}

/** The tokens and values that share a scale. */
export interface CodeGroup {
  tokens: readonly number[]
  values: readonly number[]
}

/** How many scales a head has for `capacity` tokens. */
export function scaleCount(headSize: number, capacity: number, groupTokens: number): number {
  return groupTokens > 0
    ? Math.ceil(capacity / groupTokens) * headSize
    : capacity * Math.ceil(headSize / runLength)
}
