import { dtypes, type HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode } from '../../../core/halves.ts'
import { qint8 } from '../../../core/qtype.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { inBfloat16, magnitudes, normals, replaced, shapes } from '../../inputs.ts'
import { casesOfShifts, benchmarks as quantizeBenchmarks } from '../quantize/quantize.cases.ts'

/** The arguments of a case of quantize, with room for floats where its codes go. */
function asFloats(args: readonly KernelArg[]): KernelArg[] {
  const [x, dtype] = args
  return args.slice(0, -1).with(6, new dtypes[dtypeOfCode(dtype as number)].array((x as HostArray).length))
}

/** The sizes, scales, shifts, special values and defects of quantize. */
const shifted: KernelCase[] = casesOfShifts.map((one) => ({
  ...one,
  args: (random) => asFloats(one.args(random)),
}))

/**
 * int4 with a zero point, and int8 around 0; both cut off values of the normal distribution at these scales.
 */
export const ranges = [
  { qmin: 0, qmax: 15, unit: 0.25, zeroPoint: 6 },
  { qmin: -128, qmax: 127, unit: 0.0175, zeroPoint: 0 },
] as const

/** Scales, a different one for each row or one for all, and zero points, absent where they are 0. */
export function scales(
  rows: number,
  perRow: boolean,
  range: (typeof ranges)[number],
): [Float32Array, Int32Array | null] {
  const length = perRow ? rows : 1
  const scale = Float32Array.from({ length }, (_, r) => range.unit * (1 + (r % 5) / 8))
  return [scale, range.zeroPoint ? Int32Array.from({ length }, (_, r) => range.zeroPoint + (r % 3)) : null]
}

function argsOf(
  x: Float32Array,
  [scale, zeroPoint]: [Float32Array, Int32Array | null],
  stride: number,
  [rows, cols]: readonly [number, number],
  { qmin, qmax }: { qmin: number; qmax: number },
): KernelArg[] {
  const y = new Float32Array(x.length)
  const float32 = dtypes.float32.code
  return [x, float32, scale, stride, null, zeroPoint, y, rows, cols, qint8.code, qmin, qmax]
}

/** Values that span the range. */
const wide = 172

const around: KernelCase[] = shapes.flatMap(([rows, cols]) =>
  [true, false].flatMap((perRow) =>
    ranges.map((range): KernelCase => {
      const { qmin, qmax, zeroPoint } = range
      const zeroPoints = { 'no zero point': (args: KernelArg[]) => replaced(args, 5, null) }
      return {
        name: `${rows}x${cols} ${perRow ? 'a scale a row' : 'one scale'} ${qmin}..${qmax}`,
        args: (random) => {
          const x = normals(random, rows * cols)
          return argsOf(x, scales(rows, perRow, range), perRow ? 1 : 0, [rows, cols], range)
        },
        tolerance: () => 'exact',
        defects:
          rows * cols < wide
            ? undefined
            : {
                // Of few values none may move to another code.
                ...(rows * cols > 10 * wide && {
                  'x in bfloat16': (args: KernelArg[]) =>
                    replaced(args, 0, inBfloat16(args[0] as Float32Array)),
                }),
                'twice the scale': (args) =>
                  replaced(
                    args,
                    2,
                    (args[2] as Float32Array).map((scale) => 2 * scale),
                  ),
                'another limit': (args) => replaced(args, 11, qmax - 1),
                ...(perRow &&
                  rows > 1 && { 'one scale for all': (args: KernelArg[]) => replaced(args, 3, 0) }),
                ...(zeroPoint > 0 && zeroPoints),
              },
      }
    }),
  ),
)

/** NaN, infinities, ties, every magnitude; scales that are none. */
const special: KernelCase[] = [1, 2 ** -14, 0, NaN, Infinity].map((scale) => ({
  name: `special values, scale ${scale}`,
  args: (random) => {
    const ties = Array.from({ length: 600 }, (_, i) => i / 2 - 150)
    const x = Float32Array.of(...magnitudes(random, 100), ...ties)
    const offset = [Float32Array.of(scale), Int32Array.of(3)] as [Float32Array, Int32Array]
    return argsOf(x, offset, 0, [1, x.length], { qmin: -128, qmax: 127 })
  },
  tolerance: () => 'exact',
}))

export const cases = [...shifted, ...around, ...special]

export const benchmarks: KernelCase[] = quantizeBenchmarks.map((one) => ({
  ...one,
  args: (random) => asFloats(one.args(random)),
}))
