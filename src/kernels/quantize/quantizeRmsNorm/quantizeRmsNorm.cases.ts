import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { inBfloat16, normals, rawOf, replaced } from '../../inputs.ts'
import { rmsNorm } from '../../norm/rmsNorm/rmsNorm.ts'
import { clearRows, joined, scaleTolerance } from '../quantizeRows/clearRows.ts'
import { rowStride } from '../quantizeRows/quantizeRows.ts'
import { quantizeRmsNorm } from './quantizeRmsNorm.ts'

const normEpsilon = 1e-5

/** Codes and their sums are those of the definition, since no value lies between two codes. */
function tolerance(args: readonly KernelArg[], output: number): 'exact' | Float64Array {
  if (output !== 5) return 'exact'
  const outputs = args.map((arg) => (arg === null || typeof arg === 'number' ? arg : arg.slice()))
  quantizeRmsNorm(...(outputs as Parameters<typeof quantizeRmsNorm>))
  return scaleTolerance(outputs[5] as Float32Array)
}

function outputs(rows: number, cols: number, groupSize: number): KernelArg[] {
  const groups = rows * Math.ceil(cols / groupSize)
  return [new Uint8Array(rows * rowStride(cols)), new Float32Array(groups), new Float32Array(groups)]
}

function rowsCase(rows: number, cols: number, groupSize: number, dtype: FloatDType = 'float32'): KernelCase {
  const { code } = dtypes[dtype]
  return {
    name: `${rows}x${cols} groups of ${groupSize} ${dtype}`,
    args: (random) => {
      const weight = rawOf(dtype, normals(random, cols, 0.2, 1))
      const x = clearRows(
        rows,
        groupSize,
        () => normals(random, cols),
        (row) => normed(row, weight, code),
      )
      const sizes = [rows, cols, groupSize, 127]
      return [joined(x), weight, code, normEpsilon, ...outputs(rows, cols, groupSize), ...sizes]
    },
    tolerance,
    defects: {
      'epsilon 1e-3': (args) => replaced(args, 3, 1e-3),
      'levels of 126': (args) => replaced(args, 10, 126),
      ...(cols > 1 && {
        'x in bfloat16': (args: KernelArg[]) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
      }),
      ...(cols > 32 && {
        'groups half as large': (args: KernelArg[]) => replaced(args, 9, Math.ceil(groupSize / 2)),
      }),
    },
    work: { operations: 6 * rows * cols, bytes: 5 * rows * cols },
  }
}

function normed(row: Float32Array, weight: HostArray, dtype: number): Float32Array {
  const y = new Float32Array(row.length)
  rmsNorm(row, weight, dtype, normEpsilon, y, 1, row.length)
  return y
}

/** Rows of zeros, NaN and an infinity, between others. */
const special: KernelCase = {
  name: '5x300 special values',
  args: (random) => {
    const ordinary = rowsCase(5, 300, 32).args(random)
    const x = ordinary[0] as Float32Array
    x.fill(0, 0, 300)
    x[2 * 300 + 21] = NaN
    x[4 * 300 + 299] = -Infinity
    return ordinary
  },
  tolerance,
}

export const cases: KernelCase[] = [
  rowsCase(1, 1, 1),
  rowsCase(3, 17, 17),
  rowsCase(2, 172, 64, 'float16'),
  rowsCase(130, 129, 32),
  rowsCase(3, 1100, 32, 'bfloat16'),
  rowsCase(2, 1000, 16, 'float16'),
  rowsCase(2, 700, 256),
  special,
]

export const benchmarks: KernelCase[] = [1, 512].map((rows) => ({
  ...rowsCase(rows, 4096, 32),
  args: (random) => {
    const weight = normals(random, 4096, 0.2, 1)
    const x = normals(random, rows * 4096)
    const { code } = dtypes.float32
    return [x, weight, code, normEpsilon, ...outputs(rows, 4096, 32), rows, 4096, 32, 127]
  },
}))
