import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import { toNumbers } from '../../../core/halves.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, rawOf, replaced, shapes } from '../../inputs.ts'
import { chooseScale, scaleRules } from '../chooseScale/chooseScale.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

const units = { float32: epsilon, float16: 2 ** -10, bfloat16: 2 ** -7 } as Record<FloatDType, number>

/**
 * x with the scale and shift that chooseScale gives; one value in 60 lies far out, so that errors are shrunk.
 */
function argsOf(
  x: Float32Array,
  dtype: FloatDType,
  rows: number,
  cols: number,
  levels: number,
  iterations: number,
): KernelArg[] {
  const raw = rawOf(dtype, x)
  const [scale, shift, trial, next] = [0, 1, 2, 3].map(() => rawOf(dtype, new Float32Array(rows)))
  chooseScale(scaleRules.range, raw, dtypes[dtype].code, scale, shift, null, rows, cols, 0, levels, 0, 0)
  const outputs = [trial, next, new Float32Array(rows), new Int32Array(1)]
  return [raw, dtypes[dtype].code, scale, shift, ...outputs, rows, cols, levels, 0.7, 10, 1.01, iterations]
}

/**
 * Shifts are means of values no larger than the range of the row: sums are float64, so that they are rounded
 * once, and the power that shrinks large errors is within 4 ulp. A row's error moves as far as its shift.
 */
function tolerance(
  args: readonly KernelArg[],
  output: number,
  dtype: FloatDType,
  levels: number,
): 'exact' | Float64Array {
  if (output === 7) return 'exact'
  const scales = toNumbers(dtype, args[2] as HostArray)
  return Float64Array.from(scales, (scale) => 4 * units[dtype] * Math.max(scale * levels, 2 ** -100))
}

export const cases: KernelCase[] = floats.flatMap((dtype) =>
  [3, 15].flatMap((levels) =>
    shapes.map(([rows, cols]) => ({
      name: `${rows}x${cols} ${dtype} levels=${levels}`,
      args: (random) => {
        const x = normals(random, rows * cols, 1, 0.2).map((value, i) => (i % 60 === 7 ? 4 * value : value))
        if (rows > 2) x.fill(0.3, (rows - 1) * cols)
        return argsOf(x, dtype, rows, cols, levels, 3)
      },
      tolerance: (args, output) => tolerance(args, output, dtype, levels),
      defects:
        cols < 64
          ? undefined
          : ({
              // At 4 bits few errors are large enough to shrink.
              ...(levels === 3 && { 'beta of 1': (args) => replaced(args, 12, 1) }),
              'no step': (args) => replaced(args, 14, 0),
              ...(dtype === 'float32' && {
                'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
              }),
            } as KernelCase['defects']),
    })),
  ),
)
