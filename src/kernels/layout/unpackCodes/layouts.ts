/** One way to pack codes: what `unpackCodes` and `packCodes` take, and the sizes of both arrays. */
export interface CodesLayout {
  readonly name: string
  readonly order: Uint8Array | null
  readonly bits: number
  readonly wordBytes: number
  readonly lines: number
  readonly length: number
  readonly lineWords: number
  readonly stepWords: number
  readonly lineCodes: number
  readonly stepCodes: number
  readonly count: number
  readonly packedBytes: number
}

/** GPTQ's words of codes of one output, side by side for all of them. */
const gptq = (bits: number, N: number, K: number): CodesLayout => ({
  name: `GPTQ ${bits} bits ${N}x${K}`,
  ...{ order: null, bits, wordBytes: 4, lines: N, length: K, lineWords: 1, stepWords: N },
  ...{ lineCodes: K, stepCodes: 1, count: N * K, packedBytes: 4 * N * Math.ceil((K * bits) / 32) },
})

/** AWQ's words of 8 outputs in an order of their own, for each input. */
const awq = (N: number, K: number): CodesLayout => ({
  name: `AWQ ${N}x${K}`,
  ...{ order: Uint8Array.of(0, 2, 4, 6, 1, 3, 5, 7), bits: 4, wordBytes: 4, lines: K, length: N },
  ...{ lineWords: N / 8, stepWords: 1, lineCodes: 1, stepCodes: K, count: N * K, packedBytes: (N * K) / 2 },
})

/** Words in order whose codes are as many rows. */
const across = (bits: number, N: number, K: number): CodesLayout => ({
  ...awq(N, K),
  ...{ name: `rows in words, ${bits} bits ${N}x${K}`, order: null, bits },
  ...{ lineWords: (N * bits) / 32, packedBytes: (N * K * bits) / 8 },
})

/** quanto's bytes of rows that lie R apart, the last of which may not be there. */
const quanto = (bits: number, rows: number, cols: number): CodesLayout => {
  const lines = Math.ceil((rows * bits) / 8) * cols
  return {
    name: `quanto ${bits} bits ${rows}x${cols}`,
    ...{ order: null, bits, wordBytes: 1, lines, length: 8 / bits, lineWords: 1, stepWords: 1 },
    ...{ lineCodes: 1, stepCodes: lines, count: rows * cols, packedBytes: lines },
  }
}

/** bitsandbytes' bytes of two codes, the first in the high bits, of all values in a row. */
const bitsandbytes = (count: number): CodesLayout => ({
  name: `bitsandbytes ${count}`,
  ...{
    order: Uint8Array.of(1, 0),
    bits: 4,
    wordBytes: 1,
    lines: 1,
    length: count,
    lineWords: 0,
    stepWords: 1,
  },
  ...{ lineCodes: 0, stepCodes: 1, count, packedBytes: Math.ceil(count / 2) },
})

/** Of every format, small, with tails, and of several tasks. */
export const layouts: readonly CodesLayout[] = [
  ...[2, 3, 4, 8].flatMap((bits) => [gptq(bits, 3, 32), gptq(bits, 5, 43), gptq(bits, 64, 320)]),
  ...[awq(8, 1), awq(16, 7), awq(64, 300), awq(144, 130)],
  ...[across(2, 16, 17), across(8, 76, 129)],
  ...[2, 4].flatMap((bits) => [quanto(bits, 1, 1), quanto(bits, 5, 7), quanto(bits, 130, 129)]),
  ...[1, 2, 17, 40001].map(bitsandbytes),
]

/** Its numbers as the kernels take them. */
export function layoutArgs(layout: CodesLayout): number[] {
  const { bits, wordBytes, lines, length, lineWords, stepWords, lineCodes, stepCodes, count } = layout
  return [bits, wordBytes, lines, length, lineWords, stepWords, lineCodes, stepCodes, count]
}
