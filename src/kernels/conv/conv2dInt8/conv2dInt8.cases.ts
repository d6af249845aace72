import type { Random } from '../../../core/random.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { specials } from '../../inputs.ts'
import { tileByteLength, tilePack } from '../../layout/tilePack/tilePack.ts'
import { convs, type SizedConv, sized } from '../conv2d/conv2d.cases.ts'
import { laidColumn, laidColumns } from './layout.ts'

/** What is done with the sums. */
interface Output {
  withBias: boolean
  /** What is added to them: values as large as they are, or special ones among those. */
  addend?: 'values' | 'specials'
  floats: boolean
  codes: boolean
  range: [low: number, high: number]
  /** What the scale of the codes is multiplied by, if anything. */
  scale?: number
}

const outputs: Output[] = [
  { withBias: true, floats: false, codes: true, range: [-Infinity, Infinity] },
  { withBias: false, floats: true, codes: false, range: [-Infinity, Infinity] },
  { withBias: true, floats: false, codes: true, range: [0, 6] },
  { withBias: true, floats: true, codes: false, range: [0, Infinity] },
]
/** Floats and codes, and sums with what was there before. */
const residuals: Output[] = [
  { withBias: true, addend: 'values', floats: true, codes: true, range: [-Infinity, Infinity] },
  { withBias: true, addend: 'specials', floats: true, codes: true, range: [1, Infinity] },
  { withBias: true, addend: 'values', floats: false, codes: true, range: [0, Infinity] },
  { withBias: false, addend: 'values', floats: true, codes: false, range: [-4, 6] },
  { withBias: true, floats: true, codes: true, range: [0, 6] },
  { withBias: true, addend: 'specials', floats: false, codes: true, range: [-Infinity, Infinity] },
]
/** Values that are too large for int32 as codes, before they are limited. */
const large: Output = { ...outputs[0], scale: 1e-11 }

/**
 * The least code of pixels and of weights, never both −128: where pixels are not negative, or weights not
 * −128, some instruction sets take other products.
 */
const leastCodes: readonly (readonly [pixels: number, weights: number])[] = [
  [-128, -127],
  [0, -128],
  [-127, -128],
]

/** Codes of any bits, the extreme ones often. */
function randomCodes(random: Random, length: number, least: number): Uint8Array {
  return Uint8Array.from({ length }, () => {
    const u = random.uniform()
    return u < 0.05 ? least : u > 0.95 ? 127 : Math.floor(least + (128 - least) * random.uniform())
  })
}

/** Codes around zero, as activations are, and a few extreme ones: most neighbours add up to −128 … 128. */
function smallCodes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => {
    const u = random.uniform()
    return u < 0.003 ? -128 : u > 0.997 ? 127 : Math.floor(129 * random.uniform()) - 64
  })
}

/**
 * Pixels of which four add up to at most 256 in one half of the channels, to at most 264 in the other, eight
 * by eight: with weights of −128, sums of four products fit 16 bits in the first half only.
 */
function levelCodes(random: Random, length: number, [, channels, height, width]: SizedConv['sizes']) {
  return Uint8Array.from({ length }, (_, i) => {
    const channel = Math.floor(i / (height * width)) % channels
    const most = channel % 16 < 8 ? 64 : 66
    return random.uniform() < 0.9 ? most : Math.floor(most * random.uniform())
  })
}

/**
 * Pixels that are up to `most` above the least one of their channel. In every other 32 channels one is one
 * above: of 8, 2 or 1 quads, with 16, 64 or 128, sums of two products then fit 16 bits in the others only.
 */
function narrowCodes(
  random: Random,
  length: number,
  [, channels, height, width]: SizedConv['sizes'],
  most: number,
) {
  const pixels = height * width
  return Uint8Array.from({ length }, (_, i) => {
    const channel = Math.floor(i / pixels) % channels
    const above = most + (channel % 64 === 36 ? 1 : 0)
    const least = -127 + ((channel * 97) % (254 - most))
    return (
      least + (i % pixels === 0 ? 0 : random.uniform() < 0.9 ? above : Math.floor(above * random.uniform()))
    )
  })
}

/** Rows of −128, of 127 and of any codes. */
function levelWeights(random: Random, length: number, rows: number): Uint8Array {
  const row = (i: number) => Math.floor((i * rows) / length)
  return randomCodes(random, length, -128).map((code, i) => [128, 127, code][row(i) % 3])
}

/** Pixels that vary little within a channel: `narrowCodes`. */
interface Narrow {
  narrow: number
}

/** The tiles of codes [outChannels, inGroup · kernel] as the kernel takes them. */
function laidTiles(codes: Uint8Array, sizes: SizedConv['sizes']): Uint8Array {
  const [, inChannels, , , outChannels, , , height, width] = sizes
  const inGroup = inChannels / sizes[15]
  const [K, columns] = [inGroup * height * width, laidColumns(inGroup, height, width)]
  const laid = new Uint8Array(outChannels * columns)
  for (let i = 0; i < codes.length; i++)
    laid[Math.floor(i / K) * columns + laidColumn(inGroup, height, width, i % K)] = codes[i]
  const tiles = new Uint8Array(tileByteLength(8, outChannels, columns))
  tilePack(laid, tiles, 8, outChannels, columns)
  return tiles
}

/** `leastPixel`: or pixels that are mostly small; or `levelCodes` or `narrowCodes`, and such weights. */
function int8Case(
  conv: SizedConv,
  output: Output,
  [leastPixel, leastWeight]: readonly [number | 'small' | 'level' | Narrow, number] = leastCodes[0],
): KernelCase {
  const { name, sizes, counts, operations } = conv
  const [x, w, y] = counts
  const { withBias, addend, floats, codes, range, scale = 1 } = output
  const [outChannels, taps] = [sizes[4], sizes[7] * sizes[8]]
  const columns = laidColumns(sizes[1] / sizes[15], sizes[7], sizes[8])
  const last = range[1] === Infinity ? '' : ` to ${range[1]}`
  const limits = range[0] > -Infinity ? ` from ${range[0]}${last}` : ''
  const given = `${floats && codes ? ' floats and' : ''}${codes ? ' codes' : ''}`
  const made = `${addend ? ` ${addend} added` : ''}${scale < 1 ? ' large' : ''}${given}${limits}`
  const codeScale = scale * 0.03 * Math.sqrt((sizes[1] / sizes[15]) * taps)
  const narrow = typeof leastPixel === 'object' ? leastPixel.narrow : 0
  const pixels =
    typeof leastPixel === 'number'
      ? `pixels from ${leastPixel}`
      : narrow
        ? `pixels of a range of ${narrow}`
        : `${leastPixel} pixels`
  return {
    name: `${name} ${pixels}${withBias ? ' bias' : ''}${made}`,
    args: (random) => [
      leastPixel === 'small'
        ? smallCodes(random, x)
        : leastPixel === 'level'
          ? levelCodes(random, x, sizes)
          : typeof leastPixel === 'object'
            ? narrowCodes(random, x, sizes, narrow)
            : randomCodes(random, x, leastPixel),
      Float32Array.of(0.02),
      laidTiles(
        leastPixel === 'level' || narrow
          ? levelWeights(random, w, outChannels)
          : randomCodes(random, w, leastWeight),
        sizes,
      ),
      Float32Array.from({ length: outChannels }, () => 0.002 * (1 + random.uniform())),
      withBias ? Float32Array.from({ length: outChannels }, () => random.normal()) : null,
      addend ? addends(random, y, 40 * codeScale, addend === 'specials') : null,
      ...range,
      floats ? new Float32Array(y) : null,
      codes ? Float32Array.of(codeScale) : null,
      codes ? new Uint8Array(y) : null,
      ...sizes,
    ],
    tolerance: () => 'exact',
    work: { operations, bytes: x + w + y * ((addend ? 4 : 0) + (floats ? 4 : 0) + (codes ? 1 : 0)) },
    defects: {
      // Of one channel all values may lie at a bound.
      ...(y > 8 &&
        range[0] === -Infinity &&
        scale === 1 && {
          'a bit of the first channel': (args: KernelArg[]) =>
            args.with(
              2,
              (args[2] as Uint8Array).map((byte, i) => (i % 64 < 4 && i < 16 * columns ? byte ^ 64 : byte)),
            ),
        }),
      ...(y > 8 && withBias && { 'bias forgotten': (args: KernelArg[]) => args.with(4, null) }),
      ...(y > 30 && addend && { 'nothing added': (args: KernelArg[]) => args.with(5, null) }),
      ...(y > 30 && range[0] > -Infinity && { 'no range': (args: KernelArg[]) => args.with(6, -Infinity) }),
      ...(x > 1 &&
        y > 30 && {
          'one pixel of padding more': (args: KernelArg[]) => args.with(23, (args[23] as number) + 1),
        }),
    },
  }
}

/** Values of the normal distribution; or every fifth a special one. */
function addends(random: Random, count: number, deviation: number, special: boolean): Float32Array {
  return Float32Array.from({ length: count }, (_, i) =>
    special && i % 5 === 0 ? specials[(i / 5) % specials.length] : deviation * random.normal(),
  )
}

/**
 * What conv2d's do not have: positions of every count, batches joined, several panels and chunks of them,
 * tasks that share one.
 */
const others: SizedConv[] = [
  { channels: [24, 40], image: [7, 7], kernel: [1, 1], batch: 5 },
  { channels: [10, 9], image: [13, 11], kernel: [1, 1] },
  { channels: [36, 36], image: [13, 17], kernel: [3, 3], padding: [1, 1], groups: 36, batch: 2 },
  { channels: [20, 40], image: [9, 9], kernel: [3, 3], stride: [2, 2], padding: [1, 1], groups: 20 },
  { channels: [3, 8], image: [40, 42], kernel: [7, 7], stride: [2, 2], padding: [3, 3] },
  { channels: [600, 6], image: [3, 90], kernel: [3, 3], padding: [1, 1] },
  { channels: [1, 600], image: [6, 6], kernel: [3, 3], batch: 2 },
  { channels: [16, 4], image: [2, 2], kernel: [1, 1], stride: [2, 2], batch: 2 },
  { channels: [5, 10], image: [30, 23], kernel: [5, 5], stride: [3, 3], padding: [2, 2], groups: 5 },
  { channels: [3, 3], image: [5, 8], kernel: [3, 3], padding: [1, 1], groups: 3, batch: 2 },
  { channels: [1, 14], image: [38, 21], kernel: [1, 1], batch: 2 },
  { channels: [32, 96], image: [12, 12], kernel: [3, 3], padding: [1, 1], batch: 2 },
  { channels: [2, 2], image: [150, 300], kernel: [3, 3], stride: [1, 2], padding: [1, 1], groups: 2 },
  { channels: [2, 2], image: [150, 300], kernel: [3, 3], dilation: [2, 1], padding: [0, 1], groups: 2 },
  { channels: [4, 4], image: [1, 500], kernel: [1, 9], padding: [0, 32], dilation: [1, 8], groups: 2 },
  { channels: [3, 3], image: [40, 1], kernel: [3, 3], padding: [1, 1], groups: 3, batch: 2 },
  { channels: [3, 3], image: [7, 17], kernel: [3, 6], stride: [1, 3], padding: [2, 4], groups: 3 },
  { channels: [2, 2], image: [600, 20], kernel: [5, 3], dilation: [3, 1], padding: [7, 1], groups: 2 },
  // Of four threads' tasks that share a panel the last has one channel.
  { channels: [128, 25], image: [9, 9], kernel: [3, 3], padding: [1, 1] },
].map((conv) => sized(conv as Parameters<typeof sized>[0]))

/**
 * Kernels of 1 × 1: several runs of tiles, several panels, tasks that share one, batches joined, groups; of a
 * last tile a position or two.
 */
const ones: SizedConv[] = [
  { channels: [16, 13], image: [25, 25], kernel: [1, 1] },
  { channels: [2100, 6], image: [5, 3], kernel: [1, 1] },
  { channels: [2100, 8], image: [2, 9], kernel: [1, 1] },
  { channels: [160, 260], image: [7, 7], kernel: [1, 1] },
  { channels: [20, 10], image: [6, 11], kernel: [1, 1], batch: 3, groups: 2 },
].map((conv) => sized(conv as Parameters<typeof sized>[0]))

/** Few channels: words of two of them, ones beyond the last, several panels. */
const windows: SizedConv[] = [
  { channels: [3, 21], image: [30, 27], kernel: [3, 3], stride: [2, 2], padding: [1, 1] },
  { channels: [6, 5], image: [21, 40], kernel: [19, 19] },
  {
    channels: [10, 6],
    image: [9, 40],
    kernel: [2, 3],
    stride: [1, 3],
    dilation: [3, 2],
    groups: 2,
    batch: 2,
  },
  { channels: [2, 7], image: [70, 72], kernel: [1, 2], padding: [0, 1] },
].map((conv) => sized(conv as Parameters<typeof sized>[0]))

/** Larger kernels: pairs of quads meet all taps, in each phase of a stride. */
const paired: SizedConv[] = [
  { channels: [36, 9], image: [9, 11], kernel: [3, 3], padding: [1, 1] },
  { channels: [40, 6], image: [11, 18], kernel: [3, 3], stride: [2, 2], padding: [1, 1], groups: 2 },
].map((conv) => sized(conv as Parameters<typeof sized>[0]))

/** Quads that are lowered: with larger kernels, whose taps none is beside the image; a channel left alone. */
const lowered: SizedConv[] = [
  { channels: [40, 9], image: [9, 11], kernel: [3, 3] },
  { channels: [80, 6], image: [11, 18], kernel: [3, 3], stride: [2, 2], groups: 2 },
  { channels: [128, 25], image: [9, 9], kernel: [1, 1] },
].map((conv) => sized(conv as Parameters<typeof sized>[0]))

/** Layers of MobileNetV2. */
const layers: SizedConv[] = [
  { channels: [3, 32], image: [224, 224], kernel: [3, 3], stride: [2, 2], padding: [1, 1] },
  { channels: [16, 96], image: [112, 112], kernel: [1, 1] },
  { channels: [144, 144], image: [56, 56], kernel: [3, 3], padding: [1, 1], groups: 144 },
  { channels: [96, 96], image: [112, 112], kernel: [3, 3], stride: [2, 2], padding: [1, 1], groups: 96 },
  { channels: [384, 96], image: [14, 14], kernel: [1, 1] },
  { channels: [960, 960], image: [7, 7], kernel: [3, 3], padding: [1, 1], groups: 960 },
  { channels: [320, 1280], image: [7, 7], kernel: [1, 1] },
].map((conv) => sized(conv as Parameters<typeof sized>[0]))

export const cases: KernelCase[] = [
  ...[...convs, ...others].flatMap((conv, i) => [
    int8Case(conv, outputs[i % 4]),
    int8Case(conv, outputs[(i + 1) % 4], leastCodes[i % 4 === 0 ? 1 : 0]),
    int8Case(conv, outputs[0], leastCodes[1 + (i % 2)]),
  ]),
  ...others.slice(0, 4).map((conv) => int8Case(conv, large)),
  ...[...ones, ...windows].flatMap((conv, i) => [
    int8Case(conv, outputs[i % 4], ['small', -128]),
    int8Case(conv, outputs[0]),
  ]),
  ...[...ones, ...windows, ...paired].map((conv) => int8Case(conv, outputs[1], ['level', -128])),
  ...[...ones, ...windows, ...lowered].flatMap((conv) =>
    [16, 64, 128].map((narrow) => int8Case(conv, outputs[1], [{ narrow }, -128])),
  ),
  ...[...convs, ...others, ...ones, ...windows].flatMap((conv, i) => [
    int8Case(conv, residuals[i % 6], leastCodes[i % 3]),
    int8Case(conv, residuals[(i + 1) % 6]),
  ]),
]
export const benchmarks: KernelCase[] = layers.map((conv, i) =>
  int8Case(conv, outputs[2], leastCodes[i % 6 === 1 ? 0 : 1]),
)
