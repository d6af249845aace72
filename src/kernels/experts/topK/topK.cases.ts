import type { KernelArg, KernelCase } from '../../case.ts'
import { normals } from '../../inputs.ts'

interface Variant {
  /** Whether many values of a row are equal. */
  ties?: boolean
  special?: boolean
  /** Which of the outputs are asked for; default: all. */
  outputs?: readonly ('values' | 'indices' | 'others')[]
}

function topKCase(rows: number, cols: number, k: number, variant: Variant = {}): KernelCase {
  const { ties = false, special = false, outputs = ['values', 'indices', 'others'] } = variant
  return {
    name: [`${k} of ${rows}x${cols}`, ties && 'with ties', special && 'special values', ...outputs]
      .filter(Boolean)
      .join(' '),
    args(random) {
      const x = normals(random, rows * cols).map((value) => (ties ? Math.trunc(value) : value))
      if (special) {
        x.set([NaN, Infinity, NaN], 1)
        x.fill(-Infinity, cols, 2 * cols)
        x.set([-0, 0, -1], cols + 2)
      }
      return [
        x,
        outputs.includes('values') ? new Float32Array(rows * k) : null,
        outputs.includes('indices') ? new Int32Array(rows * k) : null,
        outputs.includes('others') ? new Uint8Array(rows * cols) : null,
        rows,
        cols,
        k,
      ]
    },
    tolerance: () => 'exact',
    defects: cols === 1 || ties || special ? undefined : { 'another column is the largest': raised },
  }
}

/** The smallest value of the first row becomes its largest. */
function raised(args: KernelArg[]): KernelArg[] {
  const x = (args[0] as Float32Array).slice()
  const row = x.subarray(0, args[5] as number)
  row[row.indexOf(Math.min(...row))] = 1e9
  return args.with(0, x)
}

export const cases: KernelCase[] = [
  ...[
    [1, 8, 2],
    [3, 17, 4],
    [7, 128, 8],
    [130, 60, 4],
    [2, 5, 5],
    [1, 1, 1],
  ].flatMap(([rows, cols, k]) => [topKCase(rows, cols, k), topKCase(rows, cols, k, { ties: true })]),
  topKCase(2, 9, 5, { special: true }),
  topKCase(3, 9, 2, { outputs: ['others'] }),
  topKCase(3, 9, 2, { outputs: ['values', 'indices'] }),
]
