import type { KernelCase } from '../../case.ts'
import { counts, normals, replaced } from '../../inputs.ts'
import { smallestRange } from './magnitudeHistogram.ts'

const bins = 64

/** A first batch, and one that comes to a histogram whose range it doubles several times, or leaves. */
export const cases: KernelCase[] = counts.flatMap((count): KernelCase[] => [
  {
    name: `count=${count}, empty before`,
    args: (random) => [
      normals(random, count),
      new Int32Array(bins),
      Float32Array.of(smallestRange, 0),
      count,
      bins,
    ],
    tolerance: () => 'exact',
    defects: { 'the last value left out': (args) => replaced(args, 3, count - 1) },
  },
  ...[2 ** -7, 64].map(
    (range): KernelCase => ({
      name: `count=${count}, range ${range} before`,
      args: (random) => [
        normals(random, count),
        Int32Array.from({ length: bins }, (_, b) => 3 * b + 1),
        Float32Array.of(range, 0.8 * range),
        count,
        bins,
      ],
      tolerance: () => 'exact',
      defects: {
        'twice the values': (args) =>
          replaced(
            args,
            0,
            (args[0] as Float32Array).map((value) => 16 * value),
          ),
      },
    }),
  ),
])

const special: [name: string, values: number[], largest: number][] = [
  ['zeros', [0, -0, 0], 0],
  ['no values', [], 0.5],
  ['an infinity', [1, -Infinity, 2], 0],
  ['NaN', [1, NaN, Infinity], 0.5],
  ['values after NaN', [1, 2], NaN],
  ['values after an infinity', [1, 2], Infinity],
  ['subnormals and the largest', [2 ** -149, -(2 ** -101), 3.4028235e38], 0],
  ['a power of two', [1, 0.5, -0.25], 0],
]
for (const [name, values, largest] of special) {
  cases.push({
    name,
    args: () => [
      Float32Array.from(values),
      new Int32Array(bins),
      Float32Array.of(smallestRange, largest),
      values.length,
      bins,
    ],
    tolerance: () => 'exact',
  })
}
