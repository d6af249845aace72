import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced, shapes } from '../../inputs.ts'
import { targetsOf } from '../nll/nll.cases.ts'

function gradCase(rows: number, cols: number, smoothing: number): KernelCase {
  return {
    name: `${rows}x${cols} smoothing=${smoothing}`,
    args: (random) => [
      targetsOf(random, rows, cols),
      normals(random, rows),
      smoothing,
      -100,
      new Float32Array(rows * cols),
      rows,
      cols,
    ],
    // Computed in float64, rounded once on either side; |dx| ≤ |dloss|.
    tolerance: ([, dloss, s]) =>
      Float64Array.from({ length: rows * cols }, (_, i) => {
        const size = Math.abs((dloss as Float32Array)[Math.floor(i / cols)])
        return s === 0 ? 2 ** -60 * size : epsilon * size
      }),
    defects: {
      'dloss in bfloat16': (args) => replaced(args, 1, inBfloat16(args[1] as Float32Array)),
      ...(cols > 1 && { 'more smoothing': (args: KernelArg[]) => replaced(args, 2, smoothing + 0.01) }),
      ...(rows > 1 && { 'nothing ignored': (args: KernelArg[]) => replaced(args, 3, -1) }),
    },
  }
}

/** Targets out of range. */
const special: KernelCase = {
  name: '3x5 special values',
  args: () => [Int32Array.of(-1, 5, 4), Float32Array.of(1, 2, 3), 0, -100, new Float32Array(15), 3, 5],
  tolerance: () => 'exact',
}

export const cases: KernelCase[] = [
  ...shapes.flatMap(([rows, cols]) => [gradCase(rows, cols, 0), gradCase(rows, cols, 0.1)]),
  special,
]
