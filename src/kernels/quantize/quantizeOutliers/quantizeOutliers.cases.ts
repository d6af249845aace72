import type { KernelCase } from '../../case.ts'
import { normals, replaced } from '../../inputs.ts'
import { rowStride } from '../quantizeRows/quantizeRows.ts'

const args = (x: Float32Array, rows: number, cols: number, threshold: number) => [
  x,
  new Uint8Array(rows * rowStride(cols)),
  new Float32Array(rows),
  new Float32Array(rows),
  new Uint8Array(cols),
  rows,
  cols,
  threshold,
]

/** Some columns are larger than others, one value at the threshold itself, and one just below it. */
function rowsCase(rows: number, cols: number, threshold = 6): KernelCase {
  return {
    name: `${rows}x${cols} threshold ${threshold}`,
    args: (random) => {
      const x = normals(random, rows * cols)
      for (let i = 0; i < x.length; i += 97) x[i] *= 10
      x[x.length - 1] = threshold
      x[x.length >> 1] = threshold - 2 ** -11
      return args(x, rows, cols, threshold)
    },
    tolerance: () => 'exact',
    defects: {
      'a larger threshold': (args) => replaced(args, 7, 2 * threshold),
      'one value': (args) => replaced(args, 0, (args[0] as Float32Array).with(1, 5)),
    },
    work: { operations: 4 * rows * cols, bytes: 5 * rows * cols },
  }
}

const specials = Float32Array.of(
  0,
  NaN,
  Infinity,
  1e-30,
  -70000,
  5,
  -6,
  5.9995,
  0,
  0,
  0,
  0,
  1,
  0.5,
  -0.5,
  127,
)

export const cases: KernelCase[] = [
  ...[
    [1, 17],
    [3, 64],
    [5, 172],
    [33, 1031],
    [2, 20011],
  ].map(([rows, cols]) => rowsCase(rows, cols)),
  rowsCase(7, 100, 2.5),
  {
    name: 'zeros, NaN, infinities, ties',
    args: () => args(specials, 4, 4, 6),
    tolerance: () => 'exact',
  },
]

export const benchmarks: KernelCase[] = [1, 512].map((rows) => rowsCase(rows, 4096))
