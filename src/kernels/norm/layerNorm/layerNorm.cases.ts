import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced, shapes } from '../../inputs.ts'

/**
 * Mean, difference, inverse deviation, its product, weight, bias, and the definition: half an ulp each. The
 * mean's counts as much as the mean is large, whatever is left of x − mean.
 */
function tolerance([x, weight, bias, normEpsilon, , rows, cols]: readonly KernelArg[]): Float64Array {
  const n = cols as number
  const bound = new Float64Array((rows as number) * n)
  for (let start = 0; start < bound.length; start += n) {
    const row = (x as Float32Array).subarray(start, start + n)
    const mean = row.reduce((sum, one) => sum + one, 0) / n
    const variance = row.reduce((sum, one) => sum + (one - mean) ** 2, 0) / n
    for (let c = 0; c < n; c++) {
      const factor =
        Math.abs((weight as Float32Array | null)?.[c] ?? 1) / Math.sqrt(variance + (normEpsilon as number))
      const shift = Math.abs((bias as Float32Array | null)?.[c] ?? 0)
      bound[start + c] = epsilon * (factor * (Math.abs(mean) / 2 + 3 * Math.abs(row[c] - mean)) + shift)
    }
  }
  return bound
}

function layerNormCase(rows: number, cols: number, mean: number, affine: boolean): KernelCase {
  return {
    name: `${rows}x${cols} mean=${mean}${affine ? '' : ' without weight and bias'}`,
    args: (random) => [
      normals(random, rows * cols, 1, mean),
      affine ? normals(random, cols, 0.2, 1) : null,
      affine ? normals(random, cols) : null,
      1e-5,
      new Float32Array(rows * cols),
      rows,
      cols,
    ],
    tolerance,
    // A single value less its mean is 0.
    defects:
      cols === 1
        ? undefined
        : {
            'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
            ...(mean === 0 && { 'epsilon 1e-3': (args: KernelArg[]) => replaced(args, 3, 1e-3) }),
            ...(affine && {
              'bias in bfloat16': (args: KernelArg[]) =>
                replaced(args, 2, inBfloat16(args[2] as Float32Array)),
            }),
          },
  }
}

export const cases: KernelCase[] = [
  ...shapes.flatMap(([rows, cols]) => [
    layerNormCase(rows, cols, 0, true),
    layerNormCase(rows, cols, 0, false),
  ]),
  layerNormCase(3, 172, 100, true),
]
