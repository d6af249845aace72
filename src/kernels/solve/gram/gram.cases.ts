import type { KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'

/**
 * Rows, columns, and rows before: single values, tails, more than one stretch of rows, more than one task.
 */
const shapes = [
  [1, 1, 0],
  [3, 17, 0],
  [2, 64, 5],
  [257, 33, 128],
  [100, 172, 0],
  [40, 300, 40],
] as const

/** Sums as in `dotTolerance`: c·ε·‖x[:, i]‖₂·‖x[:, j]‖₂ of the new part, and ε of the old one, c = 8. */
export const cases: KernelCase[] = shapes.map(([M, K, before]) => ({
  name: `M=${M} K=${K} after ${before}`,
  args(random) {
    const old = normals(random, Math.min(before, 4) * K)
    const h = Float32Array.from({ length: K * K }, (_, at) => {
      let sum = 0
      for (let m = 0; m < old.length; m += K) sum += old[m + Math.floor(at / K)] * old[m + (at % K)]
      return sum
    })
    return [normals(random, M * K, 1, 0.3), h, Float32Array.of(before), M, K]
  },
  tolerance([x, h], output) {
    if (output === 2) return 'exact'
    const norms = new Float64Array(K)
    for (const [at, value] of (x as Float32Array).entries()) norms[at % K] += value * value
    return Float64Array.from({ length: K * K }, (_, at) => {
      const product = Math.sqrt(norms[Math.floor(at / K)] * norms[at % K])
      return 8 * epsilon * ((2 / (before + M)) * product + Math.abs((h as Float32Array)[at]))
    })
  },
  defects: {
    'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
    'one value left out': (args) => replaced(args, 0, (args[0] as Float32Array).with(M * K - 1, 0)),
    'one row more before': (args) => replaced(args, 2, Float32Array.of(before + 1)),
  },
  work: { operations: M * K * (K + 1), bytes: 4 * (M * K + K * K) },
}))
