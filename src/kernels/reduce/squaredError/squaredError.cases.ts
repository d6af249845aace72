import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, toNumbers } from '../../../core/halves.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, normals, rawOf, replaced, shapes, tiny } from '../../inputs.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

function argsOf(dtype: FloatDType, x: Float32Array, y: Float32Array, rows: number): KernelArg[] {
  const sums = [new Float32Array(rows), new Float32Array(rows)]
  return [rawOf(dtype, x), rawOf(dtype, y), dtypes[dtype].code, ...sums, rows, x.length / rows]
}

/**
 * No terms cancel: a difference rounded to float32 is off by ε/2 of itself, its square and at most 16 sums in
 * float32 by as much each, and the result is rounded once more.
 */
function tolerance(args: readonly KernelArg[], output: number): Float64Array {
  const [rows, cols] = [args[5] as number, args[6] as number]
  const name = dtypeOfCode(args[2] as number)
  const [x, y] = [toNumbers(name, args[0] as HostArray), toNumbers(name, args[1] as HostArray)]
  return Float64Array.from({ length: rows }, (_, r) => {
    let sum = 0
    for (let i = r * cols; i < (r + 1) * cols; i++) sum += (output === 3 ? x[i] - y[i] : x[i]) ** 2
    return 10 * epsilon * sum + cols * tiny
  })
}

/** y is x with an error of a hundredth. */
export const cases: KernelCase[] = floats.flatMap((dtype) =>
  shapes.map(([rows, cols]) => ({
    name: `${rows}x${cols} ${dtype}`,
    args: (random) => {
      const x = normals(random, rows * cols, 0.05)
      const errors = normals(random, rows * cols, 5e-4)
      const y = x.map((value, i) => value + errors[i])
      return argsOf(dtype, x, y, rows)
    },
    tolerance,
    defects: {
      'x and y exchanged': (args: KernelArg[]) => [args[1], args[0], ...args.slice(2)],
      'the first value 0': (args: KernelArg[]) => replaced(args, 1, (args[1] as Uint16Array).with(0, 0)),
    } as KernelCase['defects'],
  })),
)

cases.push({
  name: 'whole numbers, an infinity and NaN',
  args: () =>
    argsOf(
      'float32',
      Float32Array.of(1, 2, 3, 0, 0, 0, Infinity, 1, 1, NaN, 1, 1),
      Float32Array.of(3, 2, 2, 1, 1, 1, 0, 1, 1, 0, 1, 1),
      4,
    ),
  tolerance: () => 'exact',
})
