import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, normals } from '../../inputs.ts'

function combineRowsCase(rows: number, perRow: number, cols: number): KernelCase {
  const count = rows * perRow
  return {
    name: `${rows} rows of ${perRow}, ${cols} columns`,
    args(random) {
      const places = Int32Array.from({ length: count }, (_, i) => (i * 7 + 3) % count)
      const y = new Float32Array(rows * cols)
      return [normals(random, count * cols), places, normals(random, count), y, rows, perRow, cols]
    },
    /** A rounding of ε/2 for each term, and as many for the sum. */
    tolerance(args) {
      const [x, places, weights] = args as [Float32Array, Int32Array, Float32Array]
      return Float64Array.from({ length: rows * cols }, (_, at) => {
        const [r, c] = [Math.floor(at / cols), at % cols]
        let sum = 0
        for (let i = r * perRow; i < (r + 1) * perRow; i++)
          sum += Math.abs(weights[i] * x[places[i] * cols + c])
        return 2 * epsilon * sum
      })
    },
    defects: {
      'weights of the next row': (args: KernelArg[]) => {
        const weights = args[2] as Float32Array
        return args.with(
          2,
          weights.map((weight, i) => weights[i + perRow] ?? weight + 1),
        )
      },
      ...(count > 1 && {
        'another place': (args: KernelArg[]) => {
          const places = args[1] as Int32Array
          return args.with(1, places.with(0, (places[0] + 1) % count))
        },
      }),
    },
  }
}

export const cases: KernelCase[] = [
  combineRowsCase(1, 2, 64),
  combineRowsCase(1, 8, 2048),
  combineRowsCase(5, 3, 37),
  combineRowsCase(130, 4, 172),
  combineRowsCase(3, 1, 1),
]
