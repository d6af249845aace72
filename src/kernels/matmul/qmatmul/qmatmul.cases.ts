import { type DType, dtypes, type HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, roundTo } from '../../../core/halves.ts'
import {
  e2m1,
  iq4_nl,
  nf4,
  type QType,
  qint2,
  qint3,
  qint4,
  qint5,
  qint6,
  qint8,
  qtypesByCode,
  valueOfCode,
} from '../../../core/qtype.ts'
import type { Random } from '../../../core/random.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { dotTolerance, inBfloat16, normals } from '../../inputs.ts'
import { tileByteLength, tilePack, tilePlaces } from '../../layout/tilePack/tilePack.ts'
import { spanCases } from '../gemm/spanCase.ts'
import { float8Groups, type GroupCodes, groupCodeArgs, groupCodeDefects, kQuants } from './groupCodes.ts'
import { type GroupEncoding, plainGroups, type TiledWeights } from './groupValues.ts'
import { dequantizeTiles } from './qmatmul.ts'
import {
  floatsIn,
  modelShapes,
  nextGroup,
  randomCodes,
  scaleBytes,
  tiledFloats,
  tiledOffsets,
} from './weightInputs.ts'

function qmatmulCase(
  qtype: QType,
  M: number,
  N: number,
  K: number,
  groupSize = K,
  withBias = false,
  scaleDtype: DType = 'float32',
  offsetDtype = scaleDtype,
): KernelCase {
  const groups = Math.ceil(K / groupSize)
  return {
    name: `M=${M} N=${N} K=${K} ${qtype.name} ${groupSize === K ? 'per row' : `groups of ${groupSize}`}${withBias ? ' bias' : ''}${scaleDtype === 'float32' ? '' : ` ${scaleDtype} scales`}${offsetDtype === 'uint8' ? ' zero points' : ''}`,
    args: (random) =>
      qmatmulArgs(
        random,
        qtype,
        randomCodes(random, qtype, N * K),
        M,
        N,
        K,
        groupSize,
        withBias,
        scaleDtype,
        offsetDtype,
      ),
    tolerance: qmatmulTolerance,
    defects: {
      'x rounded to bfloat16': (args) => args.with(0, inBfloat16(args[0] as Float32Array)),
      'one bit of a code changed': (args) => {
        const w = (args[1] as Uint8Array).slice()
        const [{ byte, bit }] = tilePlaces(qtype.bits, K, 0, 0)
        w[byte] ^= 1 << bit
        return args.with(1, w)
      },
      // bfloat16 to the next value, the others to bfloat16.
      'scales with eight bits, or the last of them changed': (args) => {
        const coarse = (scale: number) =>
          roundTo('bfloat16', scaleDtype === 'bfloat16' ? scale * 1.008 : scale)
        return args.with(3, floatsIn(args[3] as HostArray, args[5] as number, coarse))
      },
      ...(groups > 1 && {
        'scales of the next group': (args: KernelArg[]) =>
          args.with(3, nextGroup(args[3] as HostArray, groups)),
      }),
      ...(qtype.unsigned &&
        offsetDtype !== 'uint8' && {
          'shift of the wrong sign': (args: KernelArg[]) =>
            args.with(
              4,
              floatsIn(args[4] as HostArray, args[6] as number, (shift) => -shift),
            ),
        }),
      ...(offsetDtype === 'uint8' && {
        'zero points one higher': (args: KernelArg[]) =>
          args.with(
            4,
            (args[4] as Uint8Array).map((zero) => zero + 1),
          ),
        'zero points taken for those of the next row': (args: KernelArg[]) =>
          args.with(
            4,
            (args[4] as Uint8Array).map((_, i, all) => all[(i + 4) % all.length]),
          ),
      }),
    },
    work: {
      operations: 2 * M * N * K,
      bytes:
        (N * K * qtype.bits) / 8 + scaleBytes(qtype, N * groups, scaleDtype, offsetDtype) + 4 * M * (N + K),
    },
  }
}

/** The product with W itself, [M, N] · [N, K], of the same weights. */
function transposedCase(...sizes: Parameters<typeof qmatmulCase>): KernelCase {
  const [, M, N, K, , withBias] = sizes
  const direct = qmatmulCase(...sizes)
  return {
    ...direct,
    name: `transposed ${direct.name}`,
    args: (random) =>
      direct
        .args(random)
        .with(0, normals(random, M * N))
        .with(7, withBias ? normals(random, K) : null)
        .with(8, new Float32Array(M * K))
        .with(13, 1),
  }
}

function qmatmulArgs(
  random: Random,
  qtype: QType,
  codes: Uint8Array,
  M: number,
  N: number,
  K: number,
  groupSize: number,
  withBias: boolean,
  scaleDtype: DType = 'float32',
  offsetDtype = scaleDtype,
): KernelArg[] {
  const groups = Math.ceil(K / groupSize)
  const w = new Uint8Array(tileByteLength(qtype.bits, N, K))
  tilePack(codes, w, qtype.bits, N, K)
  const scale = Float32Array.from({ length: N * groups }, () => (0.1 * (1 + random.uniform())) / qtype.qmax)
  const offset = tiledOffsets(random, qtype, scale, offsetDtype, N, groups)
  const bias = withBias ? normals(random, N) : null
  const dtypeCodes = [dtypes[scaleDtype].code, dtypes[offsetDtype].code]
  const weights = [w, qtype.code, tiledFloats(scale, scaleDtype, N, groups), offset, ...dtypeCodes]
  return [
    ...[normals(random, M * K), ...weights, bias, new Float32Array(M * N), M, N, K, groupSize, 0, null],
    ...[dtypes.float32.code, ...plainGroups],
  ]
}

/** The same with scales and shifts in codes. */
function codedCase(
  codes: GroupCodes,
  qtype: QType,
  M: number,
  N: number,
  K: number,
  groupSize: number,
  transposed = 0,
): KernelCase {
  const plain = qmatmulCase(qtype, M, N, K, groupSize, true, 'float16')
  const groups = Math.ceil(K / groupSize)
  const { 'x rounded to bfloat16': coarse } = plain.defects ?? {}
  const codeBits = (qtype.bits + (codes.bits + (codes.offsetBits ?? 0)) / groupSize) / 8
  return {
    ...plain,
    name: `${transposed ? 'transposed ' : ''}${plain.name}, codes as in ${codes.name}`,
    args(random) {
      const args = plain.args(random)
      const { scale, offset, dtypes, encoding } = groupCodeArgs(random, codes, qtype.qmax, N, groups)
      const weights = [...args.slice(0, 3), scale, offset, ...dtypes, ...args.slice(7, 16), ...encoding]
      if (!transposed) return weights
      return weights
        .with(0, normals(random, M * N))
        .with(7, normals(random, K))
        .with(8, new Float32Array(M * K))
        .with(13, 1)
    },
    defects: { 'x rounded to bfloat16': coarse, ...groupCodeDefects(codes, 4, 16) },
    work: plain.work && { ...plain.work, bytes: N * K * codeBits + 4 * M * (N + K) },
  }
}

/**
 * The same with x and W rounded to bfloat16; all that is rounded on the way to W is exact, so that no value
 * crosses a tie.
 */
function bfloat16Case(one: KernelCase): KernelCase {
  return {
    ...one,
    name: `${one.name} in bfloat16`,
    args: (random) => one.args(random).with(15, dtypes.bfloat16.code),
    defects: { 'not rounded': (args) => args.with(15, dtypes.float32.code) },
  }
}

type Floats = Float32Array
type Args = [
  x: Floats,
  ...TiledWeights,
  bias: Floats | null,
  y: Floats,
  M: number,
  N: number,
  K: number,
  groupSize: number,
  transposed: number,
  span: Int32Array | null,
  computeDtype: number,
  ...GroupEncoding,
]

/**
 * That of the dot product, and half an ε of what is rounded on the way: ½·ε·‖x‖₂·‖scale · q‖₂ before the
 * shift is taken away, and as much for scale · z, which lies among the values of scale · q.
 */
function qmatmulTolerance(args: readonly KernelArg[]): Float64Array {
  const [
    x,
    w,
    qtype,
    scale,
    offset,
    scaleDtype,
    offsetDtype,
    bias,
    ,
    M,
    N,
    K,
    groupSize,
    transposed,
    ,
    ,
    ...encoding
  ] = args as Args
  const weights = (offsets: HostArray | null, zeroPoint: number) => {
    const codes = encoding.with(7, zeroPoint) as GroupEncoding
    const rows = dequantizeTiles(w, qtype, scale, offsets, scaleDtype, offsetDtype, N, K, groupSize, codes)
    return transposed ? rows.map((_, i) => rows[(i % N) * K + Math.floor(i / N)]) : rows
  }
  const [outputs, inputs] = transposed ? [K, N] : [N, K]
  const zeroPoint = encoding[7]
  const sums = dotTolerance(x, weights(offset, zeroPoint), bias, M, outputs, inputs)
  const products = dotTolerance(x, weights(null, 0), null, M, outputs, inputs)
  const zeroPoints = zeroPoint > 0 || (offset && encoding[5] === 0 && dtypeOfCode(offsetDtype) === 'uint8')
  return sums.map((bound, i) => bound + ((zeroPoints ? 2 : 1) * products[i]) / 16)
}

/** All 256 codes of an 8-bit type, each in a row of its own; NaN and infinities too, or 0 in their place. */
function everyCode(qtype: QType, M: number, finite = false): KernelCase {
  const [N, K] = [256, 5]
  const inPlace = (code: number) => (finite && !Number.isFinite(valueOfCode(qtype, code)) ? 0 : code)
  return {
    name: `M=${M} every ${finite ? 'finite ' : ''}code of ${qtype.name}`,
    args(random) {
      const codeOf = (i: number) => (i % K === 3 ? inPlace(Math.floor(i / K)) : 0x11)
      const codes = Uint8Array.from({ length: N * K }, (_, i) => codeOf(i))
      return qmatmulArgs(random, qtype, codes, M, N, K, K, false)
    },
    tolerance: qmatmulTolerance,
  }
}

/**
 * An infinite value of the last row of x makes infinite sums of it; without zero points, where the weight
 * that it is multiplied with would be 0 or next to it, as floats are rounded.
 */
function infiniteCase(qtype: QType, M: number): KernelCase {
  const { defects: _, ...plain } = qmatmulCase(qtype, M, 37, 172, 32, false, 'float32')
  return {
    ...plain,
    name: `${plain.name}, infinite x`,
    args: (random) => {
      const [x, ...others] = plain.args(random)
      return [(x as Float32Array).with(172 * M - 9, -Infinity), ...others]
    },
  }
}

const rows = [1, 2, 3, 4, 5, 6, 7, 12, 17, 64]
const unsigned = qtypesByCode.filter((qtype) => qtype.unsigned)
const eightBits = qtypesByCode.filter(({ bits }) => bits === 8)

export const cases: KernelCase[] = [
  ...qtypesByCode.flatMap((qtype) => rows.map((M) => qmatmulCase(qtype, M, 37, 172, 172, M % 2 === 1))),
  ...[...unsigned, qint8, nf4].flatMap((qtype) => {
    return [1, 4, 17].flatMap((M) =>
      [32, 64, 96].map((groupSize) => qmatmulCase(qtype, M, 19, 172, groupSize, true)),
    )
  }),
  ...qtypesByCode.flatMap((qtype) => [1, 5].map((M) => qmatmulCase(qtype, M, 17, 1))),
  ...[1, 3, 7, 31, 33].map((K) => qmatmulCase(qint4, 2, 16, K)),
  ...[1, 13].flatMap((M) => [
    qmatmulCase(qint4, M, 48, 521, 128),
    qmatmulCase(qint8, M, 48, 521),
    qmatmulCase(qint2, M, 80, 1031, 32),
  ]),
  ...[1, 6].map((M) => qmatmulCase(qint8, M, 16, 4099)),
  qmatmulCase(qint4, 531, 70, 320, 64, true),
  qmatmulCase(qint4, 1, 275, 1031, 128),
  ...[qint4, qint5, qint8].flatMap((qtype) =>
    [1, 7].map((M) => qmatmulCase(qtype, M, 37, 172, 32, false, 'float16')),
  ),
  ...[...unsigned, qint8, nf4].flatMap((qtype) => {
    return [1, 7].flatMap((M) => [
      qmatmulCase(qtype, M, 37, 172, 32, false, 'bfloat16'),
      qmatmulCase(qtype, M, 37, 172, 32, false, 'bfloat16', qtype.unsigned ? 'uint8' : 'bfloat16'),
    ])
  }),
  ...[1, 4].map((M) => qmatmulCase(qint4, M, 37, 172, 172, false, 'float32', 'uint8')),
  qmatmulCase(qint4, 1, 275, 1031, 128, false, 'float16', 'uint8'),
  ...eightBits.flatMap((qtype) => [1, 2, 5].flatMap((M) => [everyCode(qtype, M), everyCode(qtype, M, true)])),
  ...[1, 2, 4, 5].flatMap((M) => [infiniteCase(qint4, M), infiniteCase(qint5, M), infiniteCase(qint8, M)]),
  ...qtypesByCode.flatMap((qtype) => [
    transposedCase(qtype, 1, 37, 172),
    transposedCase(qtype, 13, 275, 172, qtype.unsigned ? 32 : 96, true, 'bfloat16'),
  ]),
  transposedCase(qint4, 7, 70, 521, 128, false, 'bfloat16', 'uint8'),
  // Groups of 16 columns, whose last may be shorter, in codes of every number of planes.
  ...[...unsigned, qint8, nf4].flatMap((qtype) =>
    [1, 2, 5, 17].flatMap((M) => [
      qmatmulCase(qtype, M, 37, 172, 16, true),
      qmatmulCase(qtype, M, 19, 300, 48, false, 'float16'),
    ]),
  ),
  qmatmulCase(qint6, 1, 33, 8192 + 48, 16),
  transposedCase(qint3, 5, 37, 172, 16, true),
  ...[1, 3, 7, 17].flatMap((M) => [
    codedCase(kQuants.Q4_K, qint4, M, 37, 512, 32),
    codedCase(kQuants.Q4_K, qint5, M, 19, 256, 32),
    codedCase(kQuants.Q2_K, qint2, M, 37, 512, 16),
    codedCase(kQuants.Q3_K, qint3, M, 37, 512, 16),
    codedCase(kQuants.Q6_K, qint6, M, 37, 768, 16),
    codedCase(kQuants.IQ4_XS, iq4_nl, M, 37, 512, 32),
    codedCase({ ...kQuants.Q4_K, shared: 3 }, qint4, M, 37, 172, 64),
    codedCase(float8Groups.MXFP4, e2m1, M, 37, 172, 32),
    codedCase(float8Groups.NVFP4, e2m1, M, 37, 172, 16),
    codedCase(float8Groups.divided, e2m1, M, 37, 172, 16),
  ]),
  codedCase(kQuants.Q4_K, qint4, 5, 70, 512, 32, 1),
  ...spanCases(qmatmulCase(qint4, 20, 37, 172, 32, true, 'float16'), 14),
  ...spanCases(transposedCase(qint8, 20, 37, 172), 14),
  ...spanCases(codedCase(float8Groups.MXFP4, e2m1, 20, 37, 172, 32), 14),
  codedCase(kQuants.Q6_K, qint6, 1, 37, 256, 16, 1),
  codedCase(float8Groups.NVFP4, e2m1, 13, 37, 172, 16, 1),
  ...[
    ...qtypesByCode.flatMap((qtype) =>
      [1, 19].map((M) => qmatmulCase(qtype, M, 37, 172, 32, true, 'bfloat16')),
    ),
    ...[1, 12, 25].map((M) => qmatmulCase(nf4, M, 70, 1031, 64)),
    ...[1, 2, 3].map((K) => qmatmulCase(qint8, 5, 17, K)),
    qmatmulCase(qint4, 531, 70, 320, 64, true, 'bfloat16', 'uint8'),
    transposedCase(qint4, 13, 275, 172, 32, true, 'bfloat16'),
    transposedCase(nf4, 5, 37, 172, 64),
    ...spanCases(qmatmulCase(nf4, 20, 37, 172, 32), 14),
  ].map(bfloat16Case),
]

export const benchmarks: KernelCase[] = modelShapes.flatMap(([N, K]) => {
  const prefill = N < 49152 ? [qmatmulCase(qint4, 512, N, K, 32, false, 'float16')] : []
  const encodings =
    N < 4096
      ? []
      : [
          qmatmulCase(nf4, 1, N, K, 64),
          qmatmulCase(qint4, 1, N, K, 32),
          qmatmulCase(qint4, 1, N, K, 32, false, 'bfloat16', 'uint8'),
          codedCase(kQuants.Q4_K, qint4, 1, N, K, 32),
          codedCase(kQuants.Q6_K, qint6, 1, N, K, 16),
        ]
  return [
    qmatmulCase(qint4, 1, N, K, 32, false, 'float16'),
    qmatmulCase(qint8, 1, N, K, 32, false, 'float16'),
    ...encodings,
    ...prefill,
  ]
})
