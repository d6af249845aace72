import { type DType, dtypes, type HostArray } from '../../../core/dtype.ts'
import { type QType, qint2, qint3, qint4, qint5, qint6, qint8, qtypesByCode } from '../../../core/qtype.ts'
import { quint8 } from '../../../core/qtypes.ts'
import type { Random } from '../../../core/random.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { normals } from '../../inputs.ts'
import { tileByteLength, tilePack } from '../../layout/tilePack/tilePack.ts'
import { quantizeRows, rowStride } from '../../quantize/quantizeRows/quantizeRows.ts'
import { spanCases } from '../gemm/spanCase.ts'
import { type GroupCodes, groupCodeArgs, groupCodeDefects, kQuants } from '../qmatmul/groupCodes.ts'
import { plainGroups } from '../qmatmul/groupValues.ts'
import {
  floatsIn,
  modelShapes,
  nextGroup,
  randomCodes,
  scaleBytes,
  tiledFloats,
  tiledOffsets,
} from '../qmatmul/weightInputs.ts'
import { exchangeHighBits, isPlanes, withBit } from './codeDefects.ts'
import { tolerance } from './tolerance.ts'

interface Sizes {
  M: number
  N: number
  K: number
  qtype: QType
  /** Of w; null: the whole row. */
  groupSize?: number | null
  /** Of x; as that of w if not given. */
  xGroupSize?: number | null
  scaleDtype?: DType
  /** As the scales' if not given; uint8: zero points. */
  offsetDtype?: DType
  withBias?: boolean
  /** Of scales and shifts in codes. */
  codes?: GroupCodes
}

/** Arguments from given codes of w [N, K], one byte each, and float rows. */
function argsOf(
  random: Random,
  { M, N, K, ...sizes }: Sizes,
  codes: Uint8Array,
  rows: Float32Array,
): KernelArg[] {
  const { qtype, scaleDtype = 'float32', offsetDtype = scaleDtype, withBias = false } = sizes
  const groupSize = sizes.groupSize ?? K
  const xGroupSize = sizes.xGroupSize === undefined ? groupSize : (sizes.xGroupSize ?? K)
  const [groups, xGroups] = [Math.ceil(K / groupSize), Math.ceil(K / xGroupSize)]
  const w = new Uint8Array(tileByteLength(qtype.bits, N, K))
  tilePack(codes, w, qtype.bits, N, K)
  const scale = Float32Array.from({ length: N * groups }, () => (0.1 * (1 + random.uniform())) / qtype.qmax)
  const offset = tiledOffsets(random, qtype, scale, offsetDtype, N, groups)
  const x = new Uint8Array(M * rowStride(K))
  const [xScale, xSum] = [new Float32Array(M * xGroups), new Float32Array(M * xGroups)]
  quantizeRows(rows, x, xScale, xSum, M, K, xGroupSize, 127)
  const dtypeCodes = [dtypes[scaleDtype].code, dtypes[offsetDtype].code]
  const coded = sizes.codes && groupCodeArgs(random, sizes.codes, qtype.qmax, N, groups)
  const weights = coded
    ? [w, qtype.code, coded.scale, coded.offset, ...coded.dtypes]
    : [w, qtype.code, tiledFloats(scale, scaleDtype, N, groups), offset, ...dtypeCodes]
  return [
    x,
    xScale,
    xSum,
    xGroupSize,
    ...weights,
    ...[withBias ? normals(random, N) : null, new Float32Array(M * N), M, N, K, groupSize, null],
    ...(coded?.encoding ?? plainGroups),
  ]
}

function nameOf({
  M,
  N,
  K,
  qtype,
  groupSize = null,
  xGroupSize,
  scaleDtype = 'float32',
  offsetDtype,
  withBias,
  codes,
}: Sizes): string {
  const groups = (size: number | null) => (size === null ? 'whole rows' : `groups of ${size}`)
  const ofX = xGroupSize === undefined ? '' : `, x ${groups(xGroupSize)}`
  return `M=${M} N=${N} K=${K} ${qtype.name} ${groups(groupSize)}${ofX} ${scaleDtype}${offsetDtype === 'uint8' ? ' zero points' : ''}${withBias ? ' bias' : ''}${codes ? `, codes as in ${codes.name}` : ''}`
}

function int8Case(sizes: Sizes): KernelCase {
  const { M, N, K, qtype, scaleDtype = 'float32', offsetDtype = scaleDtype } = sizes
  const groups = Math.ceil(K / (sizes.groupSize ?? K))
  return {
    name: nameOf(sizes),
    args: (random) => argsOf(random, sizes, randomCodes(random, qtype, N * K), normals(random, M * K)),
    tolerance,
    defects: {
      'lowest bit of one code': (args) => args.with(4, withBit(args, 0, 0)),
      ...(isPlanes(qtype) && N > 1 && { 'high bits of two columns exchanged': exchangeHighBits }),
      // A single row of w may be 0 there.
      ...(N > 1 && {
        'one code of x': (args: KernelArg[]) =>
          args.with(0, (args[0] as Uint8Array).with(0, (args[0] as Uint8Array)[0] ^ 1)),
      }),
      // bfloat16 has steps of a hundredth. A few codes may all be 0.
      ...(N * K > 8 &&
        !sizes.codes && {
          'scales off by a step': (args: KernelArg[]) =>
            args.with(
              6,
              floatsIn(
                args[6] as HostArray,
                args[8] as number,
                (scale) => scale * (scaleDtype === 'bfloat16' ? 1.008 : 1.001),
              ),
            ),
        }),
      ...(groups > 1 &&
        !sizes.codes && {
          'scales of the next group': (args: KernelArg[]) =>
            args.with(6, nextGroup(args[6] as HostArray, groups)),
        }),
      ...(qtype.unsigned && !sizes.codes && { 'shift forgotten': (args: KernelArg[]) => args.with(7, null) }),
      ...(sizes.withBias && { 'bias forgotten': (args: KernelArg[]) => args.with(10, null) }),
      ...(sizes.codes && groupCodeDefects(sizes.codes, 7, 17)),
    },
    work: {
      operations: 2 * M * N * K,
      bytes:
        (N * K * qtype.bits) / 8 + scaleBytes(qtype, N * groups, scaleDtype, offsetDtype) + M * (K + 4 * N),
    },
  }
}

/**
 * All codes of w are `code` and all of x ±127: the largest sums there are, which 16 bits must not cut off.
 */
function extremeCase(qtype: QType, code: number, sign: number, M: number, K = 160): KernelCase {
  const sizes: Sizes = { M, N: 17, K, qtype, groupSize: K % 32 === 0 ? 32 : null }
  const byte = code & 255
  return {
    name: `${nameOf(sizes)}, codes ${code}, x ${127 * sign}`,
    args: (random) =>
      argsOf(random, sizes, new Uint8Array(sizes.N * K).fill(byte), new Float32Array(M * K).fill(sign)),
    tolerance,
    defects: {
      // What vpmaddubsw makes of two products of w + 128 and 127, 32767 − 128 · 254 = 255 instead of 2 · 127
      // · 127: codes of about 1.
      ...(code === 127 && {
        'saturated to 16 bits': (args: KernelArg[]) =>
          args.with(
            4,
            (args[4] as Uint8Array).map((w) => w && 1),
          ),
      }),
      'one code less': (args) => args.with(4, withBit(args, 0, 0)),
    },
  }
}

/** A row of x with NaN and one with an infinity give rows of NaN, and no others. */
const notFinite: KernelCase = {
  ...int8Case({ M: 7, N: 37, K: 172, qtype: qint4, groupSize: 32 }),
  name: 'M=7 N=37 K=172 qint4, rows with NaN and infinity',
  args(random) {
    const rows = normals(random, 7 * 172)
    rows[2 * 172 + 171] = NaN
    rows[5 * 172] = -Infinity
    const sizes: Sizes = { M: 7, N: 37, K: 172, qtype: qint4, groupSize: 32 }
    return argsOf(random, sizes, randomCodes(random, qint4, 37 * 172), rows)
  },
  defects: undefined,
}

/** Codes of x that are −128, as those of an activation beyond its scale. */
function lowestCase(M: number): KernelCase {
  const sizes: Sizes = { M, N: 37, K: 172, qtype: qint8, withBias: true }
  return {
    ...int8Case(sizes),
    name: `${nameOf(sizes)}, x −128`,
    args(random) {
      const args = argsOf(random, sizes, randomCodes(random, qint8, 37 * 172), normals(random, M * 172))
      const [codes, weights] = [args[0] as Uint8Array, args[4] as Uint8Array]
      for (let i = 0; i < weights.length; i++) if (weights[i] === 0x80) weights[i] = 0x81
      for (let k = 0; k < 172; k += 3) codes[k] = 0x80
      const values = new Int8Array(codes.buffer, 0, 172)
      ;(args[2] as Float32Array)[0] = values.reduce((sum, value) => sum + value, 0)
      return args
    },
  }
}

/**
 * Codes of x of all sizes, as likely each, and codes of w at either end: sums of two or four products that 16
 * bits do not hold.
 */
function steepCase(sizes: Sizes): KernelCase {
  const { M, N, K, qtype, xGroupSize = sizes.groupSize } = sizes
  return {
    ...int8Case(sizes),
    name: `${nameOf(sizes)}, steep`,
    args(random) {
      const ends = qtype.unsigned ? [0, qtype.qmax] : [-128, 127]
      const weights = Uint8Array.from({ length: N * K }, () => ends[random.uniform() < 0.5 ? 0 : 1])
      const args = argsOf(random, sizes, weights, normals(random, M * K))
      const values = new Int8Array((args[0] as Uint8Array).buffer)
      const sums = (args[2] as Float32Array).fill(0)
      const [size, groups] = [xGroupSize ?? K, sums.length / M]
      for (let m = 0; m < M; m++) {
        for (let k = 0; k < K; k++) {
          const code = Math.floor(random.uniform() * 255) - 127
          values[m * rowStride(K) + k] = code
          sums[m * groups + Math.floor(k / size)] += code
        }
      }
      return args
    },
  }
}

/** A zero point that all groups have, and no offsets. */
function zeroPointCase(sizes: Sizes): KernelCase {
  const plain = int8Case(sizes)
  const zeroPoint = (args: readonly KernelArg[], zero: number) => args.with(7, null).with(24, zero)
  return {
    ...plain,
    name: `${nameOf(sizes)}, zero point 8`,
    args: (random) => zeroPoint(plain.args(random), 8),
    defects: { 'zero point 7': (args) => zeroPoint(args, 7) },
  }
}

/** A scale and a shift that are infinite, and a scale that is NaN, in rows of their own. */
function infiniteScales(M: number): KernelCase {
  const sizes: Sizes = { M, N: 37, K: 96, qtype: qint4, groupSize: 32, scaleDtype: 'float16' }
  const plain = int8Case(sizes)
  return {
    ...plain,
    name: `${nameOf(sizes)}, infinite and NaN`,
    args(random) {
      const args = plain.args(random)
      const [scale, shift] = [args[6] as Uint16Array, args[7] as Uint16Array]
      scale[3] = 0xfc00
      scale[16 * 3 + 5] = 0x7e00
      shift[16 * 3 + 9] = 0x7c00
      return args
    },
    defects: undefined,
  }
}

const codes = qtypesByCode.filter(({ unsigned, bits }) => unsigned && bits < 8)
const integers = [...codes, qint8]

export const cases: KernelCase[] = [
  ...integers.flatMap((qtype) =>
    [1, 2, 3, 5, 17, 64].map((M) => int8Case({ M, N: 37, K: 172, qtype, withBias: M % 2 === 1 })),
  ),
  ...integers.flatMap((qtype) => {
    return [1, 7].flatMap((M) => {
      return [32, 64, 96, 128].map((groupSize) =>
        int8Case({ M, N: 17, K: 300, qtype, groupSize, scaleDtype: 'float16' }),
      )
    })
  }),
  // Groups of x smaller than those of w; rows longer than a panel, in one group and in some.
  ...integers.flatMap((qtype) => {
    return [1, 13, 18].flatMap((M) => [
      int8Case({ M, N: 35, K: 576, qtype, groupSize: 64, xGroupSize: 32, withBias: true }),
      int8Case({ M, N: 19, K: 1160, qtype, xGroupSize: 64 }),
      int8Case({ M, N: 19, K: 1160, qtype }),
      int8Case({ M, N: 33, K: 1152, qtype, groupSize: 96, scaleDtype: 'float16' }),
      int8Case({ M, N: 33, K: 1152, qtype, groupSize: 544, scaleDtype: 'float16' }),
      int8Case({ M, N: 17, K: 1700, qtype, groupSize: 800, xGroupSize: 160 }),
    ])
  }),
  ...integers.flatMap((qtype) =>
    [1, 5].flatMap((M) => [1, 3, 31, 33].map((K) => int8Case({ M, N: 1, K, qtype }))),
  ),
  ...[1, 6, 18].flatMap((M) => [
    ...[1, -1].flatMap((sign) => [
      ...codes.map((qtype) => extremeCase(qtype, qtype.qmax, sign, M)),
      extremeCase(qint8, 127, sign, M),
      extremeCase(qint8, -128, sign, M),
      extremeCase(qint8, -127, sign, M),
      extremeCase(qint8, -128, sign, M, 4099),
    ]),
  ]),
  int8Case({ M: 531, N: 150, K: 320, qtype: qint4, groupSize: 64, xGroupSize: 32 }),
  int8Case({ M: 18, N: 21, K: 4512, qtype: qint2, groupSize: 96, xGroupSize: 32 }),
  int8Case({ M: 1, N: 1031, K: 96, qtype: qint5, groupSize: 32, scaleDtype: 'float16' }),
  ...codes.flatMap((qtype) => {
    return [1, 7].flatMap((M) => [
      int8Case({ M, N: 37, K: 172, qtype, groupSize: 32, scaleDtype: 'bfloat16' }),
      int8Case({ M, N: 37, K: 300, qtype, groupSize: 32, scaleDtype: 'bfloat16', offsetDtype: 'uint8' }),
      int8Case({ M, N: 37, K: 172, qtype, offsetDtype: 'uint8' }),
    ])
  }),
  // Groups of 16 columns, two in what is multiplied together.
  ...integers.flatMap((qtype) => {
    return [1, 2, 13].flatMap((M) => [
      int8Case({ M, N: 37, K: 172, qtype, groupSize: 16, withBias: true }),
      int8Case({ M, N: 19, K: 300, qtype, groupSize: 48, xGroupSize: 16, scaleDtype: 'float16' }),
      int8Case({ M, N: 33, K: 1168, qtype, groupSize: 16, scaleDtype: 'bfloat16' }),
      int8Case({ M, N: 17, K: 16, qtype, groupSize: 16 }),
    ])
  }),
  ...[1, 7, 64].flatMap((M) => [
    int8Case({ M, N: 37, K: 512, qtype: qint4, groupSize: 32, codes: kQuants.Q4_K, withBias: true }),
    int8Case({ M, N: 37, K: 256, qtype: qint5, groupSize: 32, codes: kQuants.Q4_K }),
    int8Case({ M, N: 37, K: 512, qtype: qint2, groupSize: 16, codes: kQuants.Q2_K }),
    int8Case({ M, N: 37, K: 512, qtype: qint3, groupSize: 16, codes: kQuants.Q3_K }),
    int8Case({ M, N: 37, K: 1024, qtype: qint6, groupSize: 16, codes: kQuants.Q6_K }),
  ]),
  ...spanCases(int8Case({ M: 20, N: 37, K: 172, qtype: qint4, groupSize: 32, withBias: true }), 16),
  ...spanCases(int8Case({ M: 20, N: 37, K: 172, qtype: qint8 }), 16),
  notFinite,
  lowestCase(1),
  lowestCase(7),
  ...[qint8, quint8].flatMap((qtype) => {
    return [3, 6, 18].flatMap((M) => [
      steepCase({ M, N: 37, K: 1161, qtype, withBias: true }),
      steepCase({ M, N: 17, K: 1160, qtype, groupSize: 192, xGroupSize: 64 }),
      steepCase({ M, N: 17, K: 160, qtype, groupSize: 32 }),
    ])
  }),
  // More rows than are made ready at once.
  int8Case({ M: 1035, N: 17, K: 64, qtype: qint8 }),
  // Unsigned codes of all eight bits, which are moved where both factors must be signed.
  ...[1, 2, 5, 17].flatMap((M) => [
    int8Case({ M, N: 37, K: 172, qtype: quint8, withBias: true }),
    int8Case({ M, N: 17, K: 300, qtype: quint8, groupSize: 32, scaleDtype: 'float16', offsetDtype: 'uint8' }),
    int8Case({ M, N: 19, K: 1160, qtype: quint8, groupSize: 128, xGroupSize: 64 }),
    int8Case({ M, N: 33, K: 1168, qtype: quint8, groupSize: 16, scaleDtype: 'bfloat16' }),
    ...[1, -1].map((sign) => extremeCase(quint8, 255, sign, M)),
  ]),
  // Groups of 32, all of them whole, with float16 scales.
  ...[qint2, qint4, qint8].flatMap((qtype) => {
    return [1, 5].flatMap((M) => [
      int8Case({ M, N: 37, K: 160, qtype, groupSize: 32, scaleDtype: 'float16', withBias: true }),
      int8Case({ M, N: 16, K: 32, qtype, groupSize: 32, scaleDtype: 'float16' }),
    ])
  }),
  ...[1, 5].flatMap((M) => [
    zeroPointCase({ M, N: 37, K: 160, qtype: qint4, groupSize: 32, scaleDtype: 'float16', withBias: true }),
    zeroPointCase({ M, N: 37, K: 172, qtype: qint5, groupSize: 32 }),
    infiniteScales(M),
  ]),
  // Panels of as many columns as they may have, the last one of fewer.
  int8Case({ M: 13, N: 2069, K: 800, qtype: qint8, withBias: true }),
  int8Case({ M: 7, N: 2069, K: 64, qtype: qint8, groupSize: 32 }),
  int8Case({ M: 7, N: 2069, K: 64, qtype: qint4, groupSize: 32 }),
]

export const benchmarks: KernelCase[] = modelShapes.flatMap(([N, K]) => {
  return [1, 512]
    .filter((M) => M === 1 || N < 49152)
    .flatMap((M) => {
      const sizes = { M, N, K, groupSize: 32, scaleDtype: 'float16' } as const
      const others =
        K < 4096
          ? []
          : [
              int8Case({ ...sizes, qtype: qint5 }),
              int8Case({ ...sizes, qtype: qint4, codes: kQuants.Q4_K }),
              int8Case({ ...sizes, qtype: qint6, groupSize: 16 }),
              int8Case({ ...sizes, qtype: qint6, groupSize: 16, codes: kQuants.Q6_K }),
              ...[32, 128].map((xGroupSize) =>
                int8Case({ ...sizes, qtype: qint4, groupSize: 128, xGroupSize }),
              ),
            ]
      return [int8Case({ ...sizes, qtype: qint4 }), int8Case({ ...sizes, qtype: qint8 }), ...others]
    })
})
