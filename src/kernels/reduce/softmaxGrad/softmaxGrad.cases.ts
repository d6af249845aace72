import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced, shapes, tiny } from '../../inputs.ts'
import { logSoftmax } from '../logSoftmax/logSoftmax.ts'
import { softmax } from '../softmax/softmax.ts'

/**
 * The sum is taken in float64 (its terms in another order: cols·2^−52·Σ|term|) and rounded. softmax:
 * difference, product, definition, half an ulp each, of |y|·(|dy| + |sum|). log: exp errs by 2, the product's
 * three roundings by 1.5, difference and definition by 1.
 */
function tolerance([log, y, dy, , rows, cols]: readonly KernelArg[]): Float64Array {
  const [out, gradient, n] = [y as Float32Array, dy as Float32Array, cols as number]
  const bound = new Float64Array(out.length)
  for (let start = 0; start < (rows as number) * n; start += n) {
    let [sum, absolute] = [0, 0]
    for (let i = start; i < start + n; i++) {
      const term = log ? gradient[i] : out[i] * gradient[i]
      sum += term
      absolute += Math.abs(term)
    }
    const reordered = n * 2 ** -52 * absolute
    for (let i = start; i < start + n; i++) {
      const factor = log ? Math.exp(out[i]) : Math.abs(out[i])
      const size = Math.abs(gradient[i])
      bound[i] = log
        ? epsilon * (size + 4.5 * factor * Math.abs(sum)) + factor * reordered
        : factor * (2 * epsilon * (size + Math.abs(sum)) + reordered)
      bound[i] += 2 * tiny * (1 + Math.abs(sum))
    }
  }
  return bound
}

function gradCase(log: number, rows: number, cols: number): KernelCase {
  return {
    name: `${log ? 'log ' : ''}${rows}x${cols}`,
    args(random) {
      const x = normals(random, rows * cols, 3)
      const y = new Float32Array(rows * cols)
      if (log) logSoftmax(x, y, rows, cols)
      else softmax(x, y, rows, cols)
      return [log, y, normals(random, rows * cols), new Float32Array(rows * cols), rows, cols]
    },
    tolerance,
    // The gradient through a single value is 0.
    defects:
      cols === 1
        ? undefined
        : { 'dy in bfloat16': (args) => replaced(args, 2, inBfloat16(args[2] as Float32Array)) },
  }
}

export const cases: KernelCase[] = shapes.flatMap(([rows, cols]) => [
  gradCase(0, rows, cols),
  gradCase(1, rows, cols),
])
