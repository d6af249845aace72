import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced, shapes } from '../../inputs.ts'
import { rowsPerPartial } from './rowNormGrad.ts'

type Args = [
  number,
  Float32Array,
  Float32Array | null,
  number,
  Float32Array,
  Float32Array,
  Float32Array,
  number,
  number,
]

/**
 * x̂ errs by the mean's rounding, ½ε·|mean|·inverse, and 2ε of itself; g, both means, differences and
 * products by half an ulp each. The partial sums add up to 16 products in float32.
 */
function tolerance(args: readonly KernelArg[], output: number): Float64Array {
  const [centered, x, weight, normEpsilon, dy, , partial, rows, cols] = args as Args
  const dx = new Float64Array(x.length)
  const sums = new Float64Array(partial.length)
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * cols, (r + 1) * cols)
    const mean = centered ? row.reduce((sum, value) => sum + value, 0) / cols : 0
    const inverse =
      1 /
      Math.sqrt(row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / cols + Math.fround(normEpsilon))
    const g = (c: number) => Math.abs(dy[r * cols + c] * (weight?.[c] ?? 1))
    const size = (c: number) => Math.abs((row[c] - mean) * inverse)
    const error = (c: number) => epsilon * ((Math.abs(mean) * inverse) / 2 + 2 * size(c))
    let [meanG, meanGx, meanError] = [0, 0, 0]
    for (let c = 0; c < cols; c++) {
      meanG += g(c) / cols
      meanGx += (g(c) * size(c)) / cols
      meanError += (g(c) * (error(c) + epsilon * size(c))) / cols
    }
    const at = Math.floor(r / rowsPerPartial) * 2 * cols
    for (let c = 0; c < cols; c++) {
      const terms = g(c) + (centered ? meanG : 0) + size(c) * meanGx
      dx[r * cols + c] = inverse * (4 * epsilon * terms + error(c) * meanGx + size(c) * meanError)
      sums[at + c] += Math.abs(dy[r * cols + c]) * (error(c) + ((rowsPerPartial + 2) / 2) * epsilon * size(c))
      sums[at + cols + c] += ((rowsPerPartial + 2) / 2) * epsilon * Math.abs(dy[r * cols + c])
    }
  }
  return output === 5 ? dx : sums
}

function gradCase(centered: number, rows: number, cols: number, mean: number, weighted: boolean): KernelCase {
  return {
    name: `${centered ? 'layerNorm' : 'rmsNorm'} ${rows}x${cols} mean=${mean}${weighted ? '' : ' without weight'}`,
    args: (random) => [
      centered,
      normals(random, rows * cols, 1, mean),
      weighted ? normals(random, cols, 0.2, 1) : null,
      1e-5,
      normals(random, rows * cols),
      new Float32Array(rows * cols),
      new Float32Array(Math.ceil(rows / rowsPerPartial) * 2 * cols),
      rows,
      cols,
    ],
    tolerance,
    defects: {
      'dy in bfloat16': (args) => replaced(args, 4, inBfloat16(args[4] as Float32Array)),
      ...(cols > 1 && { 'the other norm': (args: KernelArg[]) => replaced(args, 0, 1 - centered) }),
      ...(cols > 1 && { 'epsilon 1e-3': (args: KernelArg[]) => replaced(args, 3, 1e-3) }),
    },
  }
}

export const cases: KernelCase[] = [
  ...shapes.flatMap(([rows, cols]) => [0, 1].map((centered) => gradCase(centered, rows, cols, 0.5, true))),
  gradCase(1, 3, 172, 1, false),
  gradCase(0, 3, 172, 1, false),
]
