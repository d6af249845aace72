import type { KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced, shapes, specials } from '../../inputs.ts'
import { reduceOps } from './reduce.ts'

const ops = Object.entries(reduceOps)

/**
 * Sums are taken in float64 and rounded once: ε·|y|, and n·2^−52·Σ|x| for the float64 additions in another
 * order.
 */
function tolerance([op, x, , rows, cols]: Parameters<KernelCase['tolerance']>[0]): 'exact' | Float64Array {
  if (op !== reduceOps.sum && op !== reduceOps.mean && op !== reduceOps.norm) return 'exact'
  const n = cols as number
  return Float64Array.from({ length: rows as number }, (_, r) => {
    const row = (x as Float32Array).subarray(r * n, (r + 1) * n)
    // Squares do not cancel, and the root halves their relative error.
    if (op === reduceOps.norm)
      return (epsilon + n * 2 ** -52) * Math.sqrt(row.reduce((total, value) => total + value ** 2, 0))
    const sum = row.reduce((total, value) => total + value, 0)
    const absolute = row.reduce((total, value) => total + Math.abs(value), 0)
    return (epsilon * Math.abs(sum) + n * 2 ** -52 * absolute) / (op === reduceOps.mean ? n : 1)
  })
}

const sizes: KernelCase[] = ops.flatMap(([name, op]) =>
  shapes.map(([rows, cols]) => ({
    name: `${name} ${rows}x${cols}`,
    args: (random) => [op, normals(random, rows * cols), new Float32Array(rows), rows, cols],
    tolerance,
    defects: { 'x in bfloat16': (args) => replaced(args, 1, inBfloat16(args[1] as Float32Array)) },
  })),
)

/**
 * Row r holds special value r at column r, among ordinary values; the last rows hold zeros of both signs, and
 * infinities.
 */
const special: KernelCase[] = ops.map(([name, op]) => ({
  name: `${name} special values`,
  args: (random) => {
    const count = specials.length
    const x = normals(random, (count + 3) * count, 1e-3)
    for (let r = 0; r < count; r++) x[r * count + r] = specials[r]
    for (let c = 0; c < count; c++) {
      x[count * count + c] = c % 3 === 1 ? 0 : -0
      x[(count + 1) * count + c] = -Infinity
      x[(count + 2) * count + c] = NaN
    }
    return [op, x, new Float32Array(count + 3), count + 3, count]
  },
  tolerance,
}))

/** Terms that cancel: a sum in float32 would lose all digits. */
const cancelling: KernelCase = {
  name: 'sum 3x1001 cancelling',
  args: (random) => {
    const x = normals(random, 3003)
    for (let i = 0; i < x.length; i++) x[i] = i % 1001 === 0 ? 1 : i % 2 ? 1e7 : -1e7
    return [reduceOps.sum, x, new Float32Array(3), 3, 1001]
  },
  tolerance,
  defects: { 'one term': (args) => replaced(args, 1, (args[1] as Float32Array).with(0, 1.01)) },
}

export const cases = [...sizes, ...special, cancelling]
