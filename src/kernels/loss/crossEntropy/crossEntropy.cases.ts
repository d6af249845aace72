import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced, shapes } from '../../inputs.ts'
import { expErrors } from '../../reduce/softmax/softmax.cases.ts'

/**
 * The logarithm turns the sum's relative error into an absolute one; the rest is float64, rounded once on
 * either side.
 */
function tolerance([logits, targets, , rows, cols]: readonly KernelArg[]): Float64Array {
  const n = cols as number
  return Float64Array.from({ length: rows as number }, (_, r) => {
    const row = (logits as Float32Array).subarray(r * n, (r + 1) * n)
    const { p, sum } = expErrors(row)
    const target = (targets as Int32Array)[r]
    return sum + epsilon * Math.abs(Math.log(p[target] ?? NaN)) || sum
  })
}

function crossEntropyCase(rows: number, cols: number, deviation: number): KernelCase {
  return {
    name: `${rows}x${cols} deviation=${deviation}`,
    args: (random) => {
      const targets = Int32Array.from({ length: rows }, () => random.uint32() % cols)
      return [normals(random, rows * cols, deviation), targets, new Float32Array(rows), rows, cols]
    },
    tolerance,
    defects:
      cols === 1
        ? undefined
        : {
            'logits in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
            'target of the next column': (args) =>
              replaced(
                args,
                1,
                (args[1] as Int32Array).map((target) => (target + 1) % cols),
              ),
          },
  }
}

/** A sure prediction (nll near 0), a masked target (Infinity), targets out of range, NaN among the logits. */
const special: KernelCase = {
  name: '5x33 special values',
  args: (random) => {
    const logits = normals(random, 5 * 33)
    logits[7] = 15
    logits[33 + 7] = -Infinity
    logits[4 * 33 + 32] = NaN
    return [logits, Int32Array.of(7, 7, -1, 33, 0), new Float32Array(5), 5, 33]
  },
  tolerance,
}

export const cases: KernelCase[] = [
  ...shapes.map(([rows, cols]) => crossEntropyCase(rows, cols, 3)),
  crossEntropyCase(4, 172, 20),
  special,
]
