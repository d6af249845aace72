import type { KernelArg, KernelCase } from '../case.ts'
import { epsilon, inBfloat16, normals, replaced, shapes } from '../inputs.ts'

/** Summed in float64 and rounded once: ε·|y|, and rows·2^−52·Σ|x| for the float64 additions in another order. */
function tolerance([x, , rows, cols]: readonly KernelArg[]): Float64Array {
  return Float64Array.from({ length: cols as number }, (_, c) => {
    let [sum, absolute] = [0, 0]
    for (let r = 0; r < (rows as number); r++) {
      const value = (x as Float32Array)[r * (cols as number) + c]
      sum += value
      absolute += Math.abs(value)
    }
    return epsilon * Math.abs(sum) + (rows as number) * 2 ** -52 * absolute
  })
}

export const cases: KernelCase[] = [...shapes, [300, 10], [20011, 2], [1030, 70], [40, 1100]].map(
  ([rows, cols]): KernelCase => ({
    name: `${rows}x${cols}`,
    args: (random) => [normals(random, rows * cols), new Float32Array(cols), rows, cols],
    tolerance,
    defects: { 'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)) },
  }),
)
