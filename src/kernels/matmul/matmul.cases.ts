import type { FloatDType, HostArray } from '../../core/dtype.ts'
import { dtypes } from '../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, roundTo, toNumbers } from '../../core/halves.ts'
import type { Random } from '../../core/random.ts'
import type { KernelArg, KernelCase } from '../case.ts'

/** [count] normal numbers as float32. */
export function normals(random: Random, count: number, spread = 1): Float32Array {
  return Float32Array.from({ length: count }, () => spread * random.normal())
}

/** The same numbers, each rounded to bfloat16: what a kernel computes that drops precision on the way. */
export function roundedToBfloat16(x: Float32Array): Float32Array {
  return x.map((value) => roundTo('bfloat16', value))
}

/**
 * c·ε·(‖x[m,:]‖₂·‖w[n,:]‖₂ + |bias[n]|) for every y[m,n], c = 8: how far float32 sums of any order stay from the float64 sum.
 * Rounding errors of random sign grow as √(length of one running sum), and kernels sum in stretches of 256; hence no factor K.
 */
export function dotTolerance(
  x: Float32Array,
  w: ArrayLike<number>,
  bias: Float32Array | null,
  M: number,
  N: number,
  K: number,
): Float64Array {
  const norm = (values: ArrayLike<number>, row: number) => {
    let sum = 0
    for (let k = 0; k < K; k++) sum += values[row * K + k] ** 2
    return Math.sqrt(sum)
  }
  const xNorms = Array.from({ length: M }, (_, m) => norm(x, m))
  const wNorms = Array.from({ length: N }, (_, n) => norm(w, n))
  return Float64Array.from({ length: M * N }, (_, i) => {
    const n = i % N
    return 8 * 2 ** -23 * (xNorms[Math.floor(i / N)] * wNorms[n] + Math.abs(bias?.[n] ?? 0))
  })
}

/** M rows of x, one row in a register tile, tails of every kind, more than one task. */
const rows = [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 17, 23, 64]
const floats = ['float32', 'float16', 'bfloat16'] as const

function matmulCase(dtype: FloatDType, M: number, N: number, K: number, withBias: boolean): KernelCase {
  return {
    name: `M=${M} N=${N} K=${K} ${dtype}${withBias ? ' bias' : ''}`,
    args(random) {
      const values = normals(random, N * K, 0.05)
      const w: HostArray = dtype === 'float32' ? values : Uint16Array.from(values, (value) => encodeFloat(dtype, value))
      const bias = withBias ? normals(random, N) : null
      return [normals(random, M * K), w, dtypes[dtype].code, bias, new Float32Array(M * N), M, N, K]
    },
    tolerance([x, w, wDtype, bias]) {
      const weights = toNumbers(dtypeOfCode(wDtype as number), w as HostArray)
      return dotTolerance(x as Float32Array, weights, bias as Float32Array | null, M, N, K)
    },
    defects: {
      'x rounded to bfloat16': ([x, ...rest]) => [roundedToBfloat16(x as Float32Array), ...rest],
      'two weights swapped': ([x, w, ...rest]) => [x, swapped(w as HostArray), ...rest],
      ...(withBias && { 'bias of the neighbour': replaceBias }),
    },
    work: { operations: 2 * M * N * K, bytes: N * K * dtypes[dtype].bytes + 4 * M * (N + K) },
  }
}

/** The first weight exchanged with the next that differs. */
function swapped(w: HostArray): HostArray {
  const copy = w.slice() as Uint16Array
  const other = copy.findIndex((value) => value !== copy[0])
  if (other > 0) [copy[0], copy[other]] = [copy[other], copy[0]]
  else copy[0] *= 2
  return copy
}

function replaceBias(args: KernelArg[]): KernelArg[] {
  const bias = args[3] as Float32Array
  return args.with(
    3,
    bias.map((value, n) => bias[n + 1] ?? value + 1),
  )
}

/** A NaN weight must reach every output of its row and an infinite x every output of its row, and no other. */
const notFinite: KernelCase = {
  name: 'M=7 N=37 K=172 float32 with NaN and infinity',
  args(random) {
    const [M, N, K] = [7, 37, 172]
    const x = normals(random, M * K)
    const w = normals(random, N * K)
    w[5 * K + 171] = NaN
    x[3 * K + 170] = Infinity
    return [x, w, 0, null, new Float32Array(M * N), M, N, K]
  },
  tolerance: ([x, w]) => dotTolerance(x as Float32Array, w as Float32Array, null, 7, 37, 172),
}

export const cases: KernelCase[] = [
  ...floats.flatMap((dtype) => rows.map((M) => matmulCase(dtype, M, 37, 172, M % 2 === 1))),
  ...[1, 2, 31, 33].flatMap((N) => [1, 4, 9].map((M) => matmulCase('float32', M, N, 1, true))),
  ...[257, 509].map((K) => matmulCase('bfloat16', 13, 101, K, true)),
  ...[1, 4, 6].map((M) => matmulCase('float32', M, 19, 4099, false)),
  matmulCase('float16', 401, 70, 300, true),
  notFinite,
]
