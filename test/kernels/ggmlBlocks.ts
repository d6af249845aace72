/*
 * ggml's blocks of bytes, put together from their parts: drawn from the layouts that ggml-common.h declares.
 */

/** What `quantizeBlocks` makes of some blocks. */
export interface Parts {
  readonly codes: Uint8Array
  readonly scale: Uint8Array
  readonly shift: Uint8Array | null
  readonly scaleCodes: Uint8Array | null
  readonly shiftCodes: Uint8Array | null
}

/** Bits from..from+width of codes `stride` apart, `per` of which share a byte, the first one lowest. */
function plane(
  q: Uint8Array,
  start: number,
  length: number,
  per: number,
  from: number,
  width: number,
): number[] {
  const stride = length
  return Array.from({ length: stride }, (_, l) => {
    let byte = 0
    for (let k = 0; k < per; k++)
      byte |= ((q[start + k * stride + l] >> from) & (2 ** width - 1)) << (width * k)
    return byte
  })
}

/** Low nibbles of the first 16, high ones of the last 16. */
const halves = (q: Uint8Array) => plane(q, 0, 16, 2, 0, 4)
/** The fifth bits of 32 codes, in order. */
const fifth = (q: Uint8Array) =>
  [0, 8, 16, 24].map((at) => q.subarray(at, at + 8).reduce((byte, c, i) => byte | ((c >> 4) << i), 0))
/** Two bits of 256 codes: of each 128 a byte holds those that are 32 apart. */
const twos = (q: Uint8Array, from = 0) => [0, 128].flatMap((at) => plane(q, at, 32, 4, from, 2))
/** One bit of 256 codes 32 apart. */
const ones = (q: Uint8Array, from: number) => plane(q, 0, 32, 8, from, 1)
/** Four bits of 256 codes: of each 64 a byte holds two that are 32 apart. */
const fours = (q: Uint8Array) => [0, 64, 128, 192].flatMap((at) => plane(q, at, 32, 2, 0, 4))

/** The 6-bit codes of 8 scales and 8 shifts in 12 bytes. */
function sixes(s: Uint8Array, m: Uint8Array): number[] {
  const low = [0, 1, 2, 3]
  return [
    ...low.map((j) => s[j] | ((s[j + 4] >> 4) << 6)),
    ...low.map((j) => m[j] | ((m[j + 4] >> 4) << 6)),
    ...low.map((j) => (s[j + 4] & 15) | ((m[j + 4] & 15) << 4)),
  ]
}

/** The 6-bit codes of 16 scales in 12 bytes. */
function sixteen(s: Uint8Array): number[] {
  return [
    ...Array.from({ length: 8 }, (_, j) => (s[j] & 15) | ((s[j + 8] & 15) << 4)),
    ...Array.from({ length: 4 }, (_, j) =>
      [0, 4, 8, 12].reduce((byte, k, i) => byte | ((s[j + k] >> 4) << (2 * i)), 0),
    ),
  ]
}

/** Five codes of three values a byte, as a fraction of 256. */
function trits(q: Uint8Array): number[] {
  const byte = (codes: number[]) => Math.ceil((codes.reduce((sum, code) => 3 * sum + code, 0) * 256) / 243)
  const of = (start: number, length: number, count: number) =>
    Array.from({ length }, (_, m) => {
      const codes = Array.from({ length: count }, (_, n) => q[start + m + n * length])
      return byte(count === 4 ? [...codes, 0] : codes)
    })
  return [...of(0, 32, 5), ...of(160, 16, 5), ...of(240, 4, 4)]
}

const negated = (half: Uint8Array | null) => (half ? [half[0], half[1] ^ 0x80] : [])

const packers: Record<string, (parts: Parts) => number[]> = {
  Q4_0: ({ codes, scale }) => [...scale, ...halves(codes)],
  Q4_1: ({ codes, scale, shift }) => [...scale, ...negated(shift), ...halves(codes)],
  Q5_0: ({ codes, scale }) => [...scale, ...fifth(codes), ...halves(codes)],
  Q5_1: ({ codes, scale, shift }) => [...scale, ...negated(shift), ...fifth(codes), ...halves(codes)],
  Q8_0: ({ codes, scale }) => [...scale, ...codes],
  IQ4_NL: ({ codes, scale }) => [...scale, ...halves(codes)],
  MXFP4: ({ codes, scale }) => [...scale, ...halves(codes)],
  Q2_K: ({ codes, scale, shift, scaleCodes, shiftCodes }) => [
    ...[...(scaleCodes as Uint8Array)].map((s, g) => s | ((shiftCodes as Uint8Array)[g] << 4)),
    ...twos(codes),
    ...scale,
    ...(shift as Uint8Array),
  ],
  Q3_K: ({ codes, scale, scaleCodes }) => [
    ...ones(codes, 2),
    ...twos(codes),
    ...sixteen(scaleCodes as Uint8Array),
    ...scale,
  ],
  Q4_K: ({ codes, scale, shift, scaleCodes, shiftCodes }) => [
    ...scale,
    ...(shift as Uint8Array),
    ...sixes(scaleCodes as Uint8Array, shiftCodes as Uint8Array),
    ...fours(codes),
  ],
  Q5_K: ({ codes, scale, shift, scaleCodes, shiftCodes }) => [
    ...scale,
    ...(shift as Uint8Array),
    ...sixes(scaleCodes as Uint8Array, shiftCodes as Uint8Array),
    ...ones(codes, 4),
    ...fours(codes),
  ],
  Q6_K: ({ codes, scale, scaleCodes }) => [
    ...[0, 128].flatMap((at) => plane(codes, at, 64, 2, 0, 4)),
    ...twos(codes, 4),
    ...(scaleCodes as Uint8Array),
    ...scale,
  ],
  IQ4_XS: ({ codes, scale, scaleCodes }) => {
    const s = scaleCodes as Uint8Array
    const high = s.reduce((word, code, g) => word | ((code >> 4) << (2 * g)), 0)
    const low = [0, 2, 4, 6].map((g) => (s[g] & 15) | ((s[g + 1] & 15) << 4))
    const nibbles = Array.from({ length: 8 }, (_, g) => halves(codes.subarray(32 * g, 32 * g + 32))).flat()
    return [...scale, high & 255, high >> 8, ...low, ...nibbles]
  },
  TQ1_0: ({ codes, scale }) => [...trits(codes), ...scale],
  TQ2_0: ({ codes, scale }) => [...twos(codes), ...scale],
}

/** The bytes of ggml's blocks of that type. */
export function packBlocks(type: string, parts: Parts, count: number): Uint8Array {
  const slice = (all: Uint8Array | null, i: number) => {
    const length = all ? all.length / count : 0
    return all ? all.subarray(i * length, (i + 1) * length) : null
  }
  return Uint8Array.from(
    Array.from({ length: count }, (_, i) =>
      packers[type]({
        codes: slice(parts.codes, i) as Uint8Array,
        scale: slice(parts.scale, i) as Uint8Array,
        shift: slice(parts.shift, i),
        scaleCodes: slice(parts.scaleCodes, i),
        shiftCodes: slice(parts.shiftCodes, i),
      }),
    ).flat(),
  )
}
