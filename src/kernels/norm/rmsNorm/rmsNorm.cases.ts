import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, rawOf, replaced, shapes, tiny } from '../../inputs.ts'
import { rmsNorm } from './rmsNorm.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

/**
 * The root (its sum in float64), the quotient, the product and the definition are each rounded once: 4 ·
 * ½ε·|y|.
 */
function tolerance(args: readonly KernelArg[]): Float64Array {
  const [x, weight, weightDtype, epsilonOfNorm, , rows, cols] = args
  const y = new Float32Array((x as Float32Array).length)
  rmsNorm(
    x as Float32Array,
    weight as HostArray,
    weightDtype as number,
    epsilonOfNorm as number,
    y,
    rows as number,
    cols as number,
  )
  return Float64Array.from(y, (value) => 2 * epsilon * Math.abs(value) + 2 * tiny)
}

function rmsNormCase(rows: number, cols: number, dtype: FloatDType, deviation = 1): KernelCase {
  return {
    name: `${rows}x${cols} ${dtype}${deviation === 1 ? '' : ` deviation=${deviation}`}`,
    args: (random) => {
      const weight = rawOf(dtype, normals(random, cols, 0.2, 1))
      return [
        normals(random, rows * cols, deviation),
        weight,
        dtypes[dtype].code,
        1e-5,
        new Float32Array(rows * cols),
        rows,
        cols,
      ]
    },
    tolerance,
    defects:
      deviation > 1
        ? undefined
        : {
            'epsilon 1e-6': (args) => replaced(args, 3, 1e-6),
            // A single value divided by its own size is ±1.
            ...(cols > 1 && {
              'x in bfloat16': (args: KernelArg[]) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
            }),
            ...(dtype === 'float32' && {
              'weight in bfloat16': (args: KernelArg[]) =>
                replaced(args, 1, inBfloat16(args[1] as Float32Array)),
            }),
          },
  }
}

/** A row of zeros, NaN, Infinity, and values whose squares overflow or vanish in float32. */
const special: KernelCase = {
  name: '5x21 special values',
  args: (random) => {
    const x = normals(random, 5 * 21)
    x.fill(0, 0, 21)
    x[21] = NaN
    x[42 + 20] = -Infinity
    for (let c = 0; c < 21; c++) {
      x[63 + c] *= 1e38 / 4
      x[84 + c] *= 1e-30
    }
    return [x, normals(random, 21), dtypes.float32.code, 1e-5, new Float32Array(105), 5, 21]
  },
  tolerance,
}

export const cases: KernelCase[] = [
  ...floats.flatMap((dtype) => shapes.map(([rows, cols]) => rmsNormCase(rows, cols, dtype))),
  rmsNormCase(3, 172, 'float32', 1e-3),
  rmsNormCase(3, 172, 'float32', 1e3),
  special,
]
