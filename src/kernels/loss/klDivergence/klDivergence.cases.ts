import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced, shapes } from '../../inputs.ts'
import { expErrors } from '../../reduce/softmax/softmax.cases.ts'

/**
 * With a and b the logits less their maxima: Σp·(a − b) errs by Σp·|a − b|·(error of e^a + that of the sum),
 * the two logarithms by the relative errors of their sums; all else is float64, rounded once on either side.
 */
function tolerance([logits, otherLogits, , rows, cols]: readonly KernelArg[]): Float64Array {
  const n = cols as number
  return Float64Array.from({ length: rows as number }, (_, r) => {
    const x = (logits as Float32Array).subarray(r * n, (r + 1) * n)
    const other = (otherLogits as Float32Array).subarray(r * n, (r + 1) * n)
    const [max, otherMax] = [x, other].map((row) =>
      row.reduce((largest, value) => Math.max(largest, value), -Infinity),
    )
    const errors = expErrors(x)
    const otherErrors = expErrors(other)
    let bound = errors.sum + otherErrors.sum
    let kl = 0
    for (let c = 0; c < n; c++) {
      const p = errors.p[c]
      if (p === 0) continue
      bound += p * Math.abs(x[c] - max - (other[c] - otherMax)) * (errors.each[c] + errors.sum)
      kl += p * Math.log(p / otherErrors.p[c])
    }
    return bound + epsilon * Math.abs(kl)
  })
}

function klCase(rows: number, cols: number, noise: number): KernelCase {
  return {
    name: `${rows}x${cols} noise=${noise}`,
    args: (random) => {
      const logits = normals(random, rows * cols, 3)
      return [
        logits,
        logits.map((value) => value + noise * random.normal()),
        new Float32Array(rows),
        rows,
        cols,
      ]
    },
    tolerance,
    defects:
      cols === 1
        ? undefined
        : {
            'other logits in bfloat16': (args) => replaced(args, 1, inBfloat16(args[1] as Float32Array)),
            'the two exchanged': ([logits, otherLogits, ...rest]) => [otherLogits, logits, ...rest],
          },
  }
}

/** Columns masked in both; masked in the other only (Infinity); NaN; equal rows (0). */
const special: KernelCase = {
  name: '4x35 special values',
  args: (random) => {
    const logits = normals(random, 4 * 35)
    const otherLogits = logits.map((value, i) => (i < 105 ? value + random.normal() : value))
    logits.fill(-Infinity, 30, 35)
    otherLogits.fill(-Infinity, 30, 35)
    otherLogits[35 + 3] = -Infinity
    logits[70 + 34] = NaN
    return [logits, otherLogits, new Float32Array(4), 4, 35]
  },
  tolerance,
}

export const cases: KernelCase[] = [
  ...shapes.map(([rows, cols]) => klCase(rows, cols, 1)),
  klCase(5, 172, 0.1),
  special,
]
