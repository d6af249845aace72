import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, magnitudes, normals, replaced, shapes } from '../../inputs.ts'
import { ranges, scales } from '../fakeQuantize/fakeQuantize.cases.ts'
import { fakeCode } from '../fakeQuantize/fakeQuantize.ts'

/**
 * dx is dy or 0. Terms of dscale are rounded once, their sum, in float64, once more, the definition's too:
 * 2·ε·Σ|term| holds all.
 */
function tolerance(args: readonly KernelArg[], output: number): 'exact' | Float64Array {
  const [x, scale, zeroPoint, dy, , , rows, cols, scaleStride, qmin, qmax] = args as [
    ...[Float32Array, Float32Array, Int32Array | null, Float32Array, Float32Array, Float32Array],
    ...[number, number, number, number, number],
  ]
  if (output === 4) return 'exact'
  return Float64Array.from({ length: rows }, (_, r) => {
    const at = r * scaleStride
    let absolute = 0
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      const { units, code, clamped } = fakeCode(x[i], scale[at], zeroPoint?.[at] ?? 0, qmin, qmax)
      absolute += Math.abs(dy[i] * (code === clamped ? code - units : clamped))
    }
    return 2 * epsilon * absolute
  })
}

export const cases: KernelCase[] = shapes.flatMap(([rows, cols]) =>
  [true, false].flatMap((perRow) =>
    ranges.map((range): KernelCase => {
      const { qmin, qmax } = range
      return {
        name: `${rows}x${cols} ${perRow ? 'a scale a row' : 'one scale'} ${qmin}..${qmax}`,
        args: (random) => [
          normals(random, rows * cols),
          ...scales(rows, perRow, range),
          normals(random, rows * cols),
          new Float32Array(rows * cols),
          new Float32Array(rows),
          rows,
          cols,
          perRow ? 1 : 0,
          qmin,
          qmax,
        ],
        tolerance,
        defects: {
          'dy in bfloat16': (args) => replaced(args, 3, inBfloat16(args[3] as Float32Array)),
          ...(rows * cols > 100 && {
            'another limit': (args: KernelArg[]) => replaced(args, 10, qmax / 2),
            'twice the scale': (args: KernelArg[]) =>
              replaced(
                args,
                1,
                (args[1] as Float32Array).map((scale) => 2 * scale),
              ),
          }),
        },
      }
    }),
  ),
)

// NaN and infinities among the values, and scales that are none; the end of the row is no whole vector.
for (const scale of [1, 0, NaN, Infinity]) {
  cases.push({
    name: `special values, scale ${scale}`,
    args: (random) => {
      const [x, dy] = [magnitudes(random, 101), normals(random, 101)]
      return [
        x,
        Float32Array.of(scale),
        null,
        dy,
        new Float32Array(101),
        new Float32Array(1),
        1,
        101,
        0,
        -128,
        127,
      ]
    },
    tolerance,
  })
}
cases.push({
  name: 'finite values of every magnitude',
  args: (random) => {
    const [x, dy] = [
      magnitudes(random, 301).map((value) => (Math.abs(value) < 1e6 ? value : 0.3)),
      normals(random, 301),
    ]
    return [
      x,
      Float32Array.of(0.37),
      null,
      dy,
      new Float32Array(301),
      new Float32Array(1),
      1,
      301,
      0,
      -128,
      127,
    ]
  },
  tolerance,
})
