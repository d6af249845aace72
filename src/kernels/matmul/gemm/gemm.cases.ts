import type { FloatDType, HostArray } from '../../../core/dtype.ts'
import { dtypes } from '../../../core/dtype.ts'
import { dtypeOfCode, toNumbers } from '../../../core/halves.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { dotTolerance, inBfloat16, normals, rawOf } from '../../inputs.ts'
import { spanCases } from './spanCase.ts'

/** What a case multiplies, besides its sizes. */
interface Variant {
  dtype?: FloatDType
  bias?: boolean
  aTransposed?: boolean
  bTransposed?: boolean
  batch?: number
  /** Matrices of a and of b; the product takes them in turn. */
  aBatch?: number
  bBatch?: number
}

function gemmCase(M: number, N: number, K: number, variant: Variant = {}): KernelCase {
  const {
    dtype = 'float32',
    bias = false,
    aTransposed = false,
    bTransposed = false,
    batch = 1,
    aBatch = batch,
    bBatch = batch,
  } = variant
  const flags = [
    aTransposed && 'aᵀ',
    bTransposed && 'bᵀ',
    batch > 1 && `batch ${batch} of ${aBatch} and ${bBatch}`,
    bias && 'bias',
  ]
  return {
    name: [`M=${M} N=${N} K=${K}`, dtype, ...flags.filter(Boolean)].join(' '),
    args(random) {
      const b = rawOf(dtype, normals(random, bBatch * N * K, 0.05))
      const a = normals(random, aBatch * M * K)
      const sizes = [batch, aBatch, bBatch, M, N, K, Number(aTransposed), Number(bTransposed), null]
      return [
        a,
        b,
        dtypes[dtype].code,
        bias ? normals(random, N) : null,
        new Float32Array(batch * M * N),
        ...sizes,
      ]
    },
    tolerance([a, b, bDtype, biases]) {
      const numbers = toNumbers(dtypeOfCode(bDtype as number), b as HostArray)
      const bounds = Array.from({ length: batch }, (_, i) => {
        const aMatrix = (a as Float32Array).subarray((i % aBatch) * M * K, ((i % aBatch) + 1) * M * K)
        const bMatrix = numbers.subarray((i % bBatch) * K * N, ((i % bBatch) + 1) * K * N)
        const x = aTransposed ? transposed(aMatrix, K, M) : aMatrix
        const w = bTransposed ? bMatrix : transposed(bMatrix, K, N)
        return dotTolerance(x, w, biases as Float32Array | null, M, N, K)
      })
      return Float64Array.from(bounds.flatMap((bound) => [...bound]))
    },
    defects: {
      'a rounded to bfloat16': ([a, ...rest]) => [inBfloat16(a as Float32Array), ...rest],
      'two values of b swapped': ([a, b, ...rest]) => [a, swapped(b as HostArray), ...rest],
      ...(bias && { 'bias of the neighbour': replaceBias }),
      ...(M !== K && M > 1 && K > 1 && { 'a transposed': (args) => args.with(11, Number(!aTransposed)) }),
    },
    work: { operations: 2 * batch * M * N * K, bytes: N * K * dtypes[dtype].bytes + 4 * M * (N + K) },
  }
}

/** [cols, rows] of values [rows, cols]. */
function transposed(values: ArrayLike<number>, rows: number, cols: number): Float32Array {
  return Float32Array.from(
    { length: rows * cols },
    (_, i) => values[(i % rows) * cols + Math.floor(i / rows)],
  )
}

/** The first value exchanged with the next that differs. */
function swapped(b: HostArray): HostArray {
  const copy = b.slice() as Uint16Array
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

/**
 * A NaN weight must reach every output of its row and an infinite x every output of its row, and no other.
 */
const notFinite: KernelCase = {
  name: 'M=7 N=37 K=172 float32 with NaN and infinity',
  args(random) {
    const [M, N, K] = [7, 37, 172]
    const x = normals(random, M * K)
    const w = normals(random, N * K)
    w[5 * K + 171] = NaN
    x[3 * K + 170] = Infinity
    return [x, w, 0, null, new Float32Array(M * N), 1, 1, 1, M, N, K, 0, 1, null]
  },
  tolerance: ([x, w]) => dotTolerance(x as Float32Array, w as Float32Array, null, 7, 37, 172),
}

/** Rows of a: one row in a register tile, tails of every kind, more than one task. */
const rows = [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 17, 23, 64]
const floats = ['float32', 'float16', 'bfloat16'] as const
const flags = [false, true]
/** Linear layers multiply by rows of b. */
const linear = { bTransposed: true }

export const cases: KernelCase[] = [
  ...floats.flatMap((dtype) =>
    rows.map((M) => gemmCase(M, 37, 172, { dtype, bias: M % 2 === 1, ...linear })),
  ),
  ...[1, 2, 31, 33].flatMap((N) => [1, 4, 9].map((M) => gemmCase(M, N, 1, { bias: true, ...linear }))),
  ...[257, 509].map((K) => gemmCase(13, 101, K, { dtype: 'bfloat16', bias: true, ...linear })),
  ...[1, 4, 6].map((M) => gemmCase(M, 19, 4099, linear)),
  gemmCase(531, 70, 300, { dtype: 'float16', bias: true, ...linear }),
  ...flags.flatMap((aTransposed) =>
    flags.flatMap((bTransposed) => [
      ...[1, 2, 5, 13].map((M) => gemmCase(M, 67, 29, { aTransposed, bTransposed, bias: M === 5 })),
      gemmCase(197, 131, 300, { aTransposed, bTransposed }),
      gemmCase(7, 18, 11, { aTransposed, bTransposed, batch: 12, bBatch: 3, bias: true }),
      gemmCase(1, 5, 4, { aTransposed, bTransposed, batch: 6, aBatch: 2 }),
    ]),
  ),
  gemmCase(12, 5, 70, { dtype: 'bfloat16', batch: 2, bBatch: 1 }),
  gemmCase(40, 40, 64, { batch: 50, bBatch: 25 }),
  ...spanCases(gemmCase(20, 37, 172, { dtype: 'bfloat16', bias: true, ...linear }), 13),
  ...spanCases(gemmCase(20, 37, 172), 13),
  notFinite,
]

/** A square, a layer of an MLP, forward and both gradients, and a large one. */
export const benchmarks: KernelCase[] = [
  gemmCase(512, 512, 512),
  gemmCase(128, 512, 784, linear),
  gemmCase(128, 784, 512),
  gemmCase(512, 784, 128, { aTransposed: true }),
  gemmCase(128, 10, 512, linear),
  gemmCase(10, 512, 128, { aTransposed: true }),
  gemmCase(2048, 2048, 2048, linear),
]
