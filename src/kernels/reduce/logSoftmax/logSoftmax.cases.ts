import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced, shapes } from '../../inputs.ts'
import { expErrors } from '../softmax/softmax.cases.ts'

/**
 * The logarithm turns the sum's relative error into an absolute one; it, x − max and the two results are each
 * rounded.
 */
function tolerance([x, , rows, cols]: readonly KernelArg[]): Float64Array {
  const n = cols as number
  const bound = new Float64Array((rows as number) * n)
  for (let start = 0; start < bound.length; start += n) {
    const row = (x as Float32Array).subarray(start, start + n)
    const { p, sum } = expErrors(row)
    const max = row.reduce((largest, value) => Math.max(largest, value), -Infinity)
    const logSum = -Math.log(p[row.indexOf(max)])
    for (let c = 0; c < n; c++) {
      const y = max - row[c] + logSum
      bound[start + c] = sum + (epsilon / 2) * (max - row[c] + logSum + 2 * y) || sum
    }
  }
  return bound
}

function logSoftmaxCase(rows: number, cols: number, deviation: number, mean: number): KernelCase {
  return {
    name: `${rows}x${cols} deviation=${deviation} mean=${mean}`,
    args: (random) => [
      normals(random, rows * cols, deviation, mean),
      new Float32Array(rows * cols),
      rows,
      cols,
    ],
    tolerance,
    // Of a single value it is 0.
    defects:
      cols === 1
        ? undefined
        : { 'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)) },
  }
}

/** Masked columns, NaN, and one column far above the others. */
const special: KernelCase = {
  name: '3x37 special values',
  args: (random) => {
    const x = normals(random, 3 * 37)
    x.fill(-Infinity, 20, 37)
    x[37 + 36] = NaN
    x[2 * 37 + 36] = 200
    return [x, new Float32Array(3 * 37), 3, 37]
  },
  tolerance,
}

export const cases: KernelCase[] = [
  ...shapes.map(([rows, cols]) => logSoftmaxCase(rows, cols, 3, 0)),
  logSoftmaxCase(3, 172, 30, 0),
  logSoftmaxCase(3, 172, 1, 1000),
  special,
]
