import type { KernelArg, KernelCase } from '../../case.ts'
import { siluMul } from '../../elementwise/siluMul/siluMul.ts'
import { inBfloat16, normals, replaced } from '../../inputs.ts'
import { clearRows, joined, scaleTolerance } from '../quantizeRows/clearRows.ts'
import { rowStride } from '../quantizeRows/quantizeRows.ts'
import { quantizeSiluMul } from './quantizeSiluMul.ts'

/** Codes and their sums are those of the definition, since no value lies between two codes. */
function tolerance(args: readonly KernelArg[], output: number): 'exact' | Float64Array {
  if (output !== 3) return 'exact'
  const outputs = args.map((arg) => (arg === null || typeof arg === 'number' ? arg : arg.slice()))
  quantizeSiluMul(...(outputs as Parameters<typeof quantizeSiluMul>))
  return scaleTolerance(outputs[3] as Float32Array)
}

function outputs(rows: number, cols: number, groupSize: number): KernelArg[] {
  const groups = rows * Math.ceil(cols / groupSize)
  return [new Uint8Array(rows * rowStride(cols)), new Float32Array(groups), new Float32Array(groups)]
}

function rowsCase(rows: number, cols: number, groupSize: number): KernelCase {
  return {
    name: `${rows}x${cols} groups of ${groupSize}`,
    args: (random) => {
      const factors = clearRows(
        rows,
        groupSize,
        () => ({ gate: normals(random, cols, 3), up: normals(random, cols) }),
        ({ gate, up }) => {
          const y = new Float32Array(cols)
          siluMul(gate, up, y, cols)
          return y
        },
      )
      const gate = joined(factors.map((row) => row.gate))
      const up = joined(factors.map((row) => row.up))
      return [gate, up, ...outputs(rows, cols, groupSize), rows, cols, groupSize, 127]
    },
    tolerance,
    defects: {
      'gate in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
      'gate and up exchanged': ([gate, up, ...rest]) => [up, gate, ...rest],
      ...(cols > 32 && {
        'groups half as large': (args: KernelArg[]) => replaced(args, 7, Math.ceil(groupSize / 2)),
      }),
    },
    work: { operations: 12 * rows * cols, bytes: 9 * rows * cols },
  }
}

/** Groups with NaN, an infinity, and nothing but zeros. */
const special: KernelCase = {
  name: '2x300 special values',
  args: (random) => {
    const ordinary = rowsCase(2, 300, 32).args(random)
    const gate = ordinary[0] as Float32Array
    gate[7] = NaN
    gate[40] = Infinity
    gate.fill(0, 64, 96)
    return ordinary
  },
  tolerance,
}

export const cases: KernelCase[] = [
  rowsCase(1, 1, 1),
  rowsCase(3, 17, 17),
  rowsCase(2, 172, 64),
  rowsCase(130, 129, 32),
  rowsCase(3, 1100, 32),
  rowsCase(2, 1000, 16),
  rowsCase(2, 700, 256),
  special,
]

export const benchmarks: KernelCase[] = [1, 512].map((rows) => ({
  ...rowsCase(rows, 4864, 32),
  args: (random) => {
    const factors = [normals(random, rows * 4864, 3), normals(random, rows * 4864)]
    return [...factors, ...outputs(rows, 4864, 32), rows, 4864, 32, 127]
  },
}))
