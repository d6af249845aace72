import { type DType, dtypes, type HostArray } from '../core/dtype.ts'
import { encodeFloat, roundTo } from '../core/halves.ts'
import type { Random } from '../core/random.ts'

/** The distance of 1 to the next float32; rounding errs by at most half of it, relatively. */
export const epsilon = 2 ** -23

/** The smallest float32 above 0: results near underflow err by multiples of it. */
export const tiny = 2 ** -149

/** Lengths around every vector width, with primes, 172, and one of several tasks. */
export const counts = [1, 3, 4, 7, 8, 15, 16, 17, 31, 172, 1009, 70001]

/** Rows and columns: single values, tails, primes, many short rows, few long ones. */
export const shapes = [
  [1, 1],
  [3, 1],
  [1, 17],
  [5, 7],
  [2, 172],
  [7, 64],
  [3, 257],
  [130, 129],
  [2, 20011],
] as const

/** NaN, infinities, zeros, subnormals, the ends of the range, and places where exp overflows and vanishes. */
export const specials = Float32Array.of(
  ...[
    1,
    NaN,
    Infinity,
    -Infinity,
    0,
    -0,
    2 ** -149,
    -(2 ** -149),
    2 ** -127,
    -(2 ** -126),
    3.4028235e38,
    -3.4028235e38,
    2 ** -14,
    -65504,
  ],
  ...[
    88.5, 88.72, 89, -87.3, -88.8, -95, -103.9, -104, -110, 0.5, 1.5, 2.5, -2.5, 447.9, 464, -1e9, 1e-6,
    -1e-7, 0.6249, 20,
  ],
)

/** `count` values of the normal distribution. */
export function normals(random: Random, count: number, deviation = 1, mean = 0): Float32Array {
  return Float32Array.from({ length: count }, () => mean + deviation * random.normal())
}

/** `count` values of every magnitude from 2^−20 to 2^20, the specials among them. */
export function magnitudes(random: Random, count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    return i < specials.length ? specials[i] : random.normal() * 2 ** Math.floor(40 * random.uniform() - 20)
  })
}

/** The raw bits of `values` in `dtype`. */
export function rawOf(dtype: DType, values: Iterable<number>): HostArray {
  if (dtype === 'float32') return Float32Array.from(values)
  return new dtypes[dtype].array(Array.from(values, (value) => encodeFloat(dtype, value)) as never)
}

/** `values` rounded to bfloat16: the commonest defect of a kernel that should compute in float32. */
export function inBfloat16(values: ArrayLike<number>): Float32Array {
  return Float32Array.from(values, (value) => roundTo('bfloat16', value))
}

/** A copy of `args` with argument `index` replaced. */
export function replaced<T>(args: readonly T[], index: number, value: T): T[] {
  return args.map((arg, i) => (i === index ? value : arg))
}

/**
 * c·ε·(‖x[m,:]‖₂·‖w[n,:]‖₂ + |bias[n]|) for every y[m,n] = Σₖ x[m,k]·w[n,k] + bias[n], c = 8: how far float32
 * sums of any order stay from the float64 sum. Rounding errors of random sign grow as √(length of one running
 * sum), and kernels sum in stretches of 256; hence no factor K.
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
    return 8 * epsilon * (xNorms[Math.floor(i / N)] * wNorms[n] + Math.abs(bias?.[n] ?? 0))
  })
}
