import type { KernelArg, KernelCase } from '../../case.ts'
import { normals } from '../../inputs.ts'

interface Sizes {
  batch?: number
  tokens: number
  heads: number
  headSize: number
  position?: number
  capacity: number
  groupSize: number
  positions?: readonly number[]
}

function quantizeCase(sizes: Sizes): KernelCase {
  const { batch = 1, tokens, heads, headSize, position = 0, capacity, groupSize } = sizes
  const count = batch * tokens * heads * headSize
  const rows = batch * heads * capacity
  const groups = Math.ceil(headSize / groupSize)
  const seen = position < capacity
  return {
    name: Object.entries(sizes)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
    args: (random) => [
      normals(random, count, 3),
      // What is there already must stay.
      Uint8Array.from({ length: rows * headSize }, () => Math.floor(256 * random.uniform())),
      normals(random, rows * groups),
      sizes.positions ? Int32Array.from(sizes.positions) : null,
      ...[batch, tokens, heads, headSize, position, capacity, groupSize],
    ],
    tolerance: () => 'exact',
    defects: {
      ...(seen && {
        'a value larger by a thousandth': (args: KernelArg[]) =>
          args.with(
            0,
            (args[0] as Float32Array).map((value) => value * 1.001),
          ),
      }),
      ...(seen &&
        position > 0 && { 'one position earlier': (args: KernelArg[]) => args.with(8, position - 1) }),
      ...(seen &&
        groups > 1 && { 'groups twice as large': (args: KernelArg[]) => args.with(10, 2 * groupSize) }),
    },
    work: { operations: 2 * count, bytes: 5 * count },
  }
}

/** Groups of zeros, of subnormals, and with what is not finite. */
const specials: KernelCase = {
  name: 'zeros, subnormals, NaN and infinities',
  args: (random) => {
    const x = normals(random, 6 * 32)
    x.fill(0, 0, 32)
    x.fill(2 ** -140, 32, 64)
    x[70] = NaN
    x[100] = -Infinity
    return [x, new Uint8Array(6 * 32), new Float32Array(6), null, 1, 3, 2, 32, 0, 3, 32]
  },
  tolerance: () => 'exact',
}

export const cases: KernelCase[] = [
  quantizeCase({ tokens: 1, heads: 1, headSize: 1, capacity: 1, groupSize: 1 }),
  quantizeCase({ tokens: 1, heads: 6, headSize: 48, position: 12, capacity: 16, groupSize: 48 }),
  quantizeCase({ batch: 2, tokens: 3, heads: 2, headSize: 80, position: 4, capacity: 7, groupSize: 64 }),
  quantizeCase({ batch: 3, tokens: 67, heads: 8, headSize: 64, position: 1, capacity: 70, groupSize: 64 }),
  quantizeCase({ tokens: 5, heads: 2, headSize: 300, capacity: 5, groupSize: 64 }),
  // Some tokens behind the capacity, and all.
  quantizeCase({ batch: 2, tokens: 9, heads: 2, headSize: 33, position: 3, capacity: 7, groupSize: 16 }),
  quantizeCase({ batch: 2, tokens: 2, heads: 2, headSize: 16, position: 8, capacity: 7, groupSize: 16 }),
  // Places of their own; one is left out, one behind the capacity.
  quantizeCase({
    batch: 4,
    tokens: 3,
    heads: 2,
    headSize: 16,
    position: 1,
    capacity: 40,
    groupSize: 16,
    positions: [0, 36, -2, 50],
  }),
  specials,
]
