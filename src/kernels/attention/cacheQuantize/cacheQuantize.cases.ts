import { type DType, dtypes, type HostArray } from '../../../core/dtype.ts'
import { decodeFloat } from '../../../core/halves.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { normals, rawOf } from '../../inputs.ts'
import { codeBytes, scaleCount } from './codes.ts'

interface Sizes {
  batch?: number
  tokens: number
  heads: number
  headSize: number
  position?: number
  capacity: number
  /** Of the ring; default none. */
  residual?: number
  bits: 4 | 8
  /** Default 0. */
  groupTokens?: number
  positions?: readonly number[]
  dtype?: DType
}

/** Places of arguments that defects change. */
const [positionAt, capacityAt] = [12, 13] as const

function quantizeCase(sizes: Sizes, change: (x: Float32Array) => void = () => {}): KernelCase {
  const { batch = 1, tokens, heads, headSize, position = 0, capacity, residual = 0, bits } = sizes
  const { groupTokens = 0, dtype = 'float16' } = sizes
  const count = batch * tokens * heads * headSize
  const rows = batch * heads
  const last = position + Math.max(0, ...(sizes.positions ?? [])) + tokens
  /** Whether some token is written. */
  const seen = groupTokens === 0 || Math.floor(last / groupTokens) * groupTokens > position
  const scales = rows * scaleCount(headSize, capacity, groupTokens)
  return {
    name: Object.entries(sizes)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
    args(random) {
      const x = normals(random, count, 3)
      change(x)
      const kept = () => rawOf('float16', normals(random, scales))
      return [
        rawOf(dtype, x),
        residual > 0 ? rawOf(dtype, normals(random, rows * residual * headSize, 3)) : null,
        dtypes[dtype].code,
        // What is there already must stay.
        Uint8Array.from({ length: rows * capacity * codeBytes(headSize, bits) }, () =>
          Math.floor(256 * random.uniform()),
        ),
        kept(),
        bits === 4 ? kept() : null,
        dtypes.float16.code,
        sizes.positions ? Int32Array.from(sizes.positions) : null,
        ...[batch, tokens, heads, headSize, position, capacity, residual, bits, groupTokens],
      ]
    },
    tolerance: () => 'exact',
    defects: {
      ...(seen && {
        'a value larger by an eighth': (args: KernelArg[]) =>
          args.with(0, scaled(args[0] as HostArray, dtype, 1.125)),
      }),
      ...(seen &&
        position > 0 && {
          'one position earlier': (args: KernelArg[]) => args.with(positionAt, position - 1),
        }),
      ...(seen &&
        capacity > 1 &&
        last >= capacity && {
          'a cache of one token less': (args: KernelArg[]) => args.with(capacityAt, capacity - 1),
        }),
    },
    work: { operations: 2 * count, bytes: 3 * count },
  }
}

/** Raw bits of values times a factor. */
function scaled(raw: HostArray, dtype: DType, factor: number): HostArray {
  return rawOf(
    dtype,
    Array.from(raw as Float32Array, (bits) => factor * decodeFloat(dtype, bits)),
  )
}

/** Groups of zeros, of subnormals, and with what is not finite. */
function specials(x: Float32Array): void {
  x.fill(0, 0, 32)
  x.fill(2 ** -24, 32, 64)
  x[70] = NaN
  x[100] = -Infinity
  x.fill(5, 128, 160)
}

export const cases: KernelCase[] = [
  quantizeCase({ tokens: 1, heads: 1, headSize: 1, capacity: 1, bits: 8 }),
  quantizeCase({ tokens: 1, heads: 6, headSize: 48, position: 12, capacity: 16, bits: 8 }),
  quantizeCase({ batch: 2, tokens: 3, heads: 2, headSize: 80, position: 4, capacity: 7, bits: 8 }),
  quantizeCase({ batch: 3, tokens: 67, heads: 8, headSize: 64, position: 1, capacity: 70, bits: 8 }),
  quantizeCase({ tokens: 5, heads: 2, headSize: 300, capacity: 5, bits: 8, dtype: 'float32' }),
  quantizeCase({ tokens: 1, heads: 1, headSize: 1, capacity: 1, bits: 4 }),
  quantizeCase({ tokens: 2, heads: 6, headSize: 48, position: 12, capacity: 16, bits: 4 }),
  quantizeCase({ batch: 2, tokens: 3, heads: 2, headSize: 97, position: 4, capacity: 7, bits: 4 }),
  quantizeCase({ tokens: 5, heads: 2, headSize: 300, capacity: 5, bits: 4 }),
  // More tokens than rows: in the call, and before it.
  quantizeCase({ batch: 2, tokens: 9, heads: 2, headSize: 33, position: 3, capacity: 7, bits: 8 }),
  quantizeCase({ batch: 2, tokens: 2, heads: 2, headSize: 16, position: 8, capacity: 7, bits: 8 }),
  // Places of their own; one is left out, one begins in the rows anew.
  quantizeCase({
    batch: 4,
    tokens: 3,
    heads: 2,
    headSize: 16,
    position: 1,
    capacity: 40,
    positions: [0, 36, -2, 50],
    bits: 4,
  }),
  // Scales of each value over tokens: none complete, one of the ring and the call, several, in rows anew.
  ...[
    { tokens: 2, position: 3, capacity: 20 },
    { tokens: 1, position: 7, capacity: 20 },
    { tokens: 30, position: 5, capacity: 40 },
    { tokens: 20, position: 6, capacity: 16 },
  ].map((sizes) =>
    quantizeCase({ batch: 2, heads: 2, headSize: 20, residual: 9, bits: 4, groupTokens: 8, ...sizes }),
  ),
  quantizeCase({
    tokens: 70,
    heads: 2,
    headSize: 300,
    position: 60,
    capacity: 70,
    residual: 64,
    bits: 4,
    groupTokens: 64,
  }),
  quantizeCase({ tokens: 3, heads: 2, headSize: 32, capacity: 3, bits: 8 }, specials),
  quantizeCase({ tokens: 3, heads: 2, headSize: 32, capacity: 3, bits: 4 }, specials),
  quantizeCase(
    { tokens: 3, heads: 2, headSize: 32, capacity: 3, residual: 3, bits: 4, groupTokens: 3 },
    specials,
  ),
]
