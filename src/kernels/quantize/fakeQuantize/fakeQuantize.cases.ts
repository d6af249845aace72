import type { KernelArg, KernelCase } from '../../case.ts'
import { inBfloat16, magnitudes, normals, replaced, shapes } from '../../inputs.ts'

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

/** Values that span the range. */
const wide = 172

export const cases: KernelCase[] = shapes.flatMap(([rows, cols]) =>
  [true, false].flatMap((perRow) =>
    ranges.map((range): KernelCase => {
      const { qmin, qmax, zeroPoint } = range
      const zeroPoints = { 'no zero point': (args: KernelArg[]) => replaced(args, 2, null) }
      return {
        name: `${rows}x${cols} ${perRow ? 'a scale a row' : 'one scale'} ${qmin}..${qmax}`,
        args: (random) => [
          normals(random, rows * cols),
          ...scales(rows, perRow, range),
          new Float32Array(rows * cols),
          rows,
          cols,
          perRow ? 1 : 0,
          qmin,
          qmax,
        ],
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
                    1,
                    (args[1] as Float32Array).map((scale) => 2 * scale),
                  ),
                'another limit': (args) => replaced(args, 8, qmax - 1),
                ...(perRow &&
                  rows > 1 && { 'one scale for all': (args: KernelArg[]) => replaced(args, 6, 0) }),
                ...(zeroPoint > 0 && zeroPoints),
              },
      }
    }),
  ),
)

// NaN, infinities, ties, every magnitude; scales that are none.
for (const scale of [1, 2 ** -14, 0, NaN, Infinity]) {
  cases.push({
    name: `special values, scale ${scale}`,
    args: (random) => {
      const x = Float32Array.of(
        ...magnitudes(random, 100),
        ...Array.from({ length: 600 }, (_, i) => i / 2 - 150),
      )
      return [
        x,
        Float32Array.of(scale),
        Int32Array.of(3),
        new Float32Array(x.length),
        1,
        x.length,
        0,
        -128,
        127,
      ]
    },
    tolerance: () => 'exact',
  })
}
