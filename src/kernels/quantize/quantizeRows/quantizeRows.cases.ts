import type { KernelCase } from '../../case.ts'
import { magnitudes, normals, replaced } from '../../inputs.ts'
import { rowStride } from './quantizeRows.ts'

function quantizeRowsCase(
  rows: number,
  cols: number,
  groupSize: number,
  name = '',
  x?: Float32Array,
  levels = 127,
): KernelCase {
  const groups = Math.ceil(cols / groupSize)
  return {
    name: `${rows}x${cols} groups of ${groupSize} levels ${levels}${name}`,
    args: (random) => {
      const values = x ?? normals(random, rows * cols)
      const outputs = [
        new Uint8Array(rows * rowStride(cols)),
        new Float32Array(rows * groups),
        new Float32Array(rows * groups),
      ]
      return [values, ...outputs, rows, cols, groupSize, levels]
    },
    tolerance: () => 'exact',
    defects: x
      ? undefined
      : {
          'levels of 126': (args) => replaced(args, 7, 126),
          'one value': (args) => replaced(args, 0, (args[0] as Float32Array).with(rows * cols - 1, 10)),
          ...(cols > 32 && { 'groups half as large': (args) => replaced(args, 6, Math.ceil(groupSize / 2)) }),
        },
    work: { operations: 2 * rows * cols, bytes: 5 * rows * cols },
  }
}

/** Ties: 127 makes the scale 1, so that halves lie between two codes. */
const ties = Float32Array.from({ length: 256 }, (_, i) => (i === 0 ? 127 : i / 2 - 64))
/**
 * Groups without anything to scale: zeros, what underflows, NaN, an infinity of each sign, and the largest
 * float; behind them others, up to where vectors of groups begin anew.
 */
const extremes = Float32Array.from({ length: 33 * 32 }, (_, i) => (i < 7 * 32 ? 0 : (i % 37) - 18))
for (const [g, value] of [0, 2 ** -149, 2 ** -122, NaN, Infinity, -Infinity, 3.4028235e38].entries())
  extremes[32 * g + 5] = value

export const cases: KernelCase[] = [
  ...[
    [1, 1, 1],
    [3, 17, 17],
    [5, 64, 32],
    [2, 172, 172],
    [2, 172, 64],
    [17, 288, 96],
    [130, 129, 32],
    [3, 1100, 32],
    [2, 1000, 16],
    [2, 2100, 48],
    [2, 20011, 20011],
    [2, 20011, 128],
  ].map(([rows, cols, groupSize]) => quantizeRowsCase(rows, cols, groupSize)),
  quantizeRowsCase(3, 17, 17, '', undefined, 127.5),
  quantizeRowsCase(17, 288, 288, '', undefined, 127.5),
  quantizeRowsCase(2, 1100, 32, '', undefined, 127.5),
  quantizeRowsCase(1, 256, 256, ' ties', ties),
  quantizeRowsCase(1, 256, 256, ' ties', ties, 127.5),
  quantizeRowsCase(1, 33 * 32, 32, ' zeros, underflow, NaN, infinities', extremes),
  {
    ...quantizeRowsCase(4, 300, 32, ' of every magnitude'),
    args: (random) => [magnitudes(random, 1200), ...quantizeRowsCase(4, 300, 32).args(random).slice(1)],
    defects: undefined,
  },
]

export const benchmarks: KernelCase[] = [1, 512].map((rows) => quantizeRowsCase(rows, 4096, 32))
