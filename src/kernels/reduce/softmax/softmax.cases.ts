import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced, shapes, tiny } from '../../inputs.ts'

/**
 * The relative errors of e^(x − max) in a row and of their sum: x − max errs by ½ε·d, d = max − x, which the
 * exponential inherits on top of its own 2ε (the largest, e^0, is exact); the sum errs by the mean of these
 * over p.
 */
export function expErrors(row: Float32Array): { p: Float64Array; each: Float64Array; sum: number } {
  const max = row.reduce((largest, value) => Math.max(largest, value), -Infinity)
  const e = Float64Array.from(row, (value) => Math.exp(value - max))
  const total = e.reduce((sum, value) => sum + value, 0)
  const p = e.map((value) => value / total)
  const each = Float64Array.from(row, (value) =>
    value === max || value === -Infinity ? 0 : epsilon * ((max - value) / 2 + 2),
  )
  return { p, each, sum: each.reduce((sum, error, c) => sum + p[c] * error, 0) + row.length * 2 ** -52 }
}

/**
 * y = e / sum: both errors, and 1.5ε for inverse, product and the definition's rounding; near underflow exp
 * errs by 2·2^−149.
 */
function tolerance([x, , rows, cols]: readonly KernelArg[]): Float64Array {
  const n = cols as number
  const bound = new Float64Array((rows as number) * n)
  for (let start = 0; start < bound.length; start += n) {
    const { p, each, sum } = expErrors((x as Float32Array).subarray(start, start + n))
    for (let c = 0; c < n; c++) bound[start + c] = p[c] * (each[c] + sum + 1.5 * epsilon) + 2 * tiny
  }
  return bound
}

function softmaxCase(rows: number, cols: number, deviation: number, mean: number): KernelCase {
  return {
    name: `${rows}x${cols} deviation=${deviation} mean=${mean}`,
    args: (random) => [
      normals(random, rows * cols, deviation, mean),
      new Float32Array(rows * cols),
      rows,
      cols,
    ],
    tolerance,
    // The softmax of a single value is 1.
    defects:
      cols === 1
        ? undefined
        : { 'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)) },
  }
}

/** Masked columns, a row all masked, +Infinity, NaN, and one column far above the others. */
const special: KernelCase = {
  name: '5x37 special values',
  args: (random) => {
    const x = normals(random, 5 * 37)
    x.fill(-Infinity, 20, 37)
    x.fill(-Infinity, 37, 74)
    x[2 * 37 + 5] = Infinity
    x[3 * 37 + 36] = NaN
    x[4 * 37 + 36] = 200
    return [x, new Float32Array(5 * 37), 5, 37]
  },
  tolerance,
}

export const cases: KernelCase[] = [
  ...shapes.map(([rows, cols]) => softmaxCase(rows, cols, 3, 0)),
  softmaxCase(3, 172, 30, 0),
  softmaxCase(3, 172, 1, 1000),
  special,
]
