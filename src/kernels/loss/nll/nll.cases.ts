import type { Random } from '../../../core/random.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced, shapes } from '../../inputs.ts'
import { logSoftmax } from '../../reduce/logSoftmax/logSoftmax.ts'
import { nll } from './nll.ts'

/** Computed in float64 and rounded once: ε·|loss|, and for the mean in another order cols·2^−52·Σ|p|. */
function tolerance(args: readonly KernelArg[], output: number): 'exact' | Float64Array {
  const [p, targets, smoothing, ignoreIndex, , , rows, cols] = args as [
    Float32Array,
    Int32Array,
    number,
    number,
    null,
    null,
    number,
    number,
  ]
  if (output === 5) return 'exact'
  const loss = new Float32Array(rows)
  nll(p, targets, smoothing, ignoreIndex, loss, new Float32Array(rows), rows, cols)
  return Float64Array.from(loss, (value, r) => {
    const absolute = p.subarray(r * cols, (r + 1) * cols).reduce((sum, one) => sum + Math.abs(one), 0)
    return epsilon * Math.abs(value) + 2 ** -52 * smoothing * absolute
  })
}

/** Targets of which every third is ignored, but the first. */
export function targetsOf(random: Random, rows: number, cols: number): Int32Array {
  return Int32Array.from({ length: rows }, (_, r) => (r % 3 === 1 ? -100 : random.uint32() % cols))
}

function nllCase(rows: number, cols: number, smoothing: number): KernelCase {
  return {
    name: `${rows}x${cols} smoothing=${smoothing}`,
    args(random) {
      const p = new Float32Array(rows * cols)
      logSoftmax(normals(random, rows * cols, 3), p, rows, cols)
      return [
        p,
        targetsOf(random, rows, cols),
        smoothing,
        -100,
        new Float32Array(rows),
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
            'log-probabilities in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
            'more smoothing': (args) => replaced(args, 2, smoothing + 0.01),
            ...(rows > 1 && { 'nothing ignored': (args: KernelArg[]) => replaced(args, 3, -1) }),
          },
  }
}

/** Targets out of range, and a probability of 0 that is not asked for. */
const special: KernelCase = {
  name: '4x5 special values',
  args: () => {
    const p = new Float32Array(20).fill(Math.log(0.25))
    p[3] = -Infinity
    return [p, Int32Array.of(0, 3, -1, 5), 0, -100, new Float32Array(4), new Float32Array(4), 4, 5]
  },
  tolerance,
}

export const cases: KernelCase[] = [
  ...shapes.flatMap(([rows, cols]) => [nllCase(rows, cols, 0), nllCase(rows, cols, 0.1)]),
  special,
]
