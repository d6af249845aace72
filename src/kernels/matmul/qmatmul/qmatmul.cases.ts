import { type DType, dtypes, type HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, roundTo, toNumbers } from '../../../core/halves.ts'
import { nf4, type QType, qint2, qint4, qint5, qint8, qtypesByCode } from '../../../core/qtype.ts'
import type { Random } from '../../../core/random.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { dotTolerance, inBfloat16, normals, rawOf } from '../../inputs.ts'
import { tileByteLength, tilePack, tilePlaces } from '../../layout/tilePack/tilePack.ts'
import { dequantizeTiles } from './qmatmul.ts'

/** [rows, cols] floats as tiles of `dtype`. */
export function tiledFloats(values: Float32Array, dtype: DType, rows: number, cols: number): HostArray {
  const raw = rawOf(dtype, values)
  const bits = 8 * dtypes[dtype].bytes
  const tiles = new Uint8Array(tileByteLength(bits, rows, cols))
  tilePack(new Uint8Array(raw.buffer), tiles, bits, rows, cols)
  return new dtypes[dtype].array(tiles.buffer)
}

/** Codes as quantizing normal weights gives them; every code of the type occurs. */
export function randomCodes(random: Random, qtype: QType, count: number): Uint8Array {
  if (qtype.dtype === 'uint8')
    return Uint8Array.from({ length: count }, () => Math.floor(random.uniform() * 2 ** qtype.bits))
  if (qtype.dtype === 'int8')
    return Uint8Array.from({ length: count }, () => Math.floor(random.uniform() * 256))
  return Uint8Array.from({ length: count }, () =>
    encodeFloat(qtype.dtype, (qtype.qmax / 6) * random.normal()),
  )
}

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

/** Bytes of the scales and offsets of so many groups. */
export function scaleBytes(qtype: QType, groups: number, scaleDtype: DType, offsetDtype: DType): number {
  return groups * (dtypes[scaleDtype].bytes + (qtype.unsigned ? dtypes[offsetDtype].bytes : 0))
}

/**
 * [N, groups] shifts of the scales, or zero points, near the middle of the codes, as the minimum of weights
 * around zero; in tiles.
 */
export function tiledOffsets(
  random: Random,
  qtype: QType,
  scale: Float32Array,
  dtype: DType,
  N: number,
  groups: number,
): HostArray | null {
  if (!qtype.unsigned) return null
  const middle = () => qtype.qmax * (0.3 + 0.4 * random.uniform())
  if (dtype !== 'uint8')
    return tiledFloats(
      scale.map((value) => value * middle()),
      dtype,
      N,
      groups,
    )
  const tiles = new Uint8Array(tileByteLength(8, N, groups))
  tilePack(
    Uint8Array.from(scale, () => Math.round(middle())),
    tiles,
    8,
    N,
    groups,
  )
  return tiles
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
  return [normals(random, M * K), ...weights, bias, new Float32Array(M * N), M, N, K, groupSize, 0]
}

type Floats = Float32Array
type Weights = [
  w: Uint8Array,
  qtype: number,
  scale: HostArray,
  offset: HostArray | null,
  scaleDtype: number,
  offsetDtype: number,
]
type Args = [
  x: Floats,
  ...Weights,
  bias: Floats | null,
  y: Floats,
  M: number,
  N: number,
  K: number,
  groupSize: number,
  transposed: number,
]

/**
 * That of the dot product, and half an ε of what is rounded on the way: ½·ε·‖x‖₂·‖scale · q‖₂ before the
 * shift is taken away, and as much for scale · z, which lies among the values of scale · q.
 */
function qmatmulTolerance(args: readonly KernelArg[]): Float64Array {
  const [x, w, qtype, scale, offset, scaleDtype, offsetDtype, bias, , M, N, K, groupSize, transposed] =
    args as Args
  const weights = (offsets: HostArray | null) => {
    const rows = dequantizeTiles(w, qtype, scale, offsets, scaleDtype, offsetDtype, N, K, groupSize)
    return transposed ? rows.map((_, i) => rows[(i % N) * K + Math.floor(i / N)]) : rows
  }
  const [outputs, inputs] = transposed ? [K, N] : [N, K]
  const sums = dotTolerance(x, weights(offset), bias, M, outputs, inputs)
  const products = dotTolerance(x, weights(null), null, M, outputs, inputs)
  const roundings = offset && dtypeOfCode(offsetDtype) === 'uint8' ? 2 : 1
  return sums.map((bound, i) => bound + (roundings * products[i]) / 16)
}

/** A raw array of floats, each replaced by f of it. */
export function floatsIn(raw: HostArray, dtype: number, f: (value: number) => number): HostArray {
  const name = dtypeOfCode(dtype)
  return rawOf(name, toNumbers(name, raw).map(f))
}

/** Tiles of scales with each row's groups moved by one. */
export function nextGroup(tiles: HostArray, groups: number): HostArray {
  const moved = tiles.slice()
  for (let i = 0; i < tiles.length; i++) {
    const tileRow = Math.floor(i / (16 * groups))
    const group = (Math.floor(i / 16) + 1) % groups
    moved[i] = tiles[(tileRow * groups + group) * 16 + (i % 16)]
  }
  return moved
}

/** All 256 codes of an 8-bit type, NaN and infinities included, each in a row of its own. */
function everyCode(qtype: QType, M: number): KernelCase {
  const [N, K] = [256, 5]
  return {
    name: `M=${M} every code of ${qtype.name}`,
    args(random) {
      const codes = Uint8Array.from({ length: N * K }, (_, i) => (i % K === 3 ? Math.floor(i / K) : 0x11))
      return qmatmulArgs(random, qtype, codes, M, N, K, K, false)
    },
    tolerance: qmatmulTolerance,
  }
}

/** An infinite value of the last row of x makes infinite sums of it, and NaN only where a weight is 0. */
function infiniteCase(qtype: QType, M: number, ...rest: [offsetDtype?: DType]): KernelCase {
  const { defects: _, ...plain } = qmatmulCase(qtype, M, 37, 172, 32, false, 'float32', ...rest)
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
  qmatmulCase(qint4, 401, 70, 320, 64, true),
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
  ...eightBits.flatMap((qtype) => [1, 5].map((M) => everyCode(qtype, M))),
  ...[1, 2, 4, 5].flatMap((M) => [
    infiniteCase(qint4, M),
    infiniteCase(qint4, M, 'uint8'),
    infiniteCase(qint5, M),
    infiniteCase(qint8, M),
  ]),
  ...qtypesByCode.flatMap((qtype) => [
    transposedCase(qtype, 1, 37, 172),
    transposedCase(qtype, 13, 275, 172, qtype.unsigned ? 32 : 96, true, 'bfloat16'),
  ]),
  transposedCase(qint4, 7, 70, 521, 128, false, 'bfloat16', 'uint8'),
]

/** The matrices of SmolLM2 and a square one of 7B models, [N, K]. */
export const modelShapes = [
  [576, 576],
  [192, 576],
  [1536, 576],
  [576, 1536],
  [49152, 576],
  [4096, 4096],
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
        ]
  return [
    qmatmulCase(qint4, 1, N, K, 32, false, 'float16'),
    qmatmulCase(qint8, 1, N, K, 32, false, 'float16'),
    ...encodings,
    ...prefill,
  ]
})
