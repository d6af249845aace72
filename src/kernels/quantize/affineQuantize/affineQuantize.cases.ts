import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import type { KernelCase } from '../../case.ts'
import { normals, rawOf, replaced, shapes, specials } from '../../inputs.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

/** qmin, qmax, offset: int8, int4 stored unsigned, quanto's uint4. */
const ranges = [
  [-128, 127, 0],
  [-8, 7, 8],
  [0, 15, 0],
] as const

const kinds = floats.flatMap((dtype) =>
  ranges.flatMap((range) => [0, 1].map((reciprocal) => ({ dtype, range, reciprocal }))),
)

const sizes: KernelCase[] = kinds.flatMap(({ dtype, range, reciprocal }) =>
  shapes.map(([rows, cols]) => ({
    name: `${rows}x${cols} ${dtype} ${range[0]}…${range[1]} ${reciprocal ? 'times 1/scale' : 'by scale'}`,
    args: (random) => {
      const x = rawOf(dtype, normals(random, rows * cols, (range[1] - range[0]) / 60))
      const scale = rawOf(
        dtype,
        Float32Array.from({ length: rows }, () => 0.1 + 0.02 * random.normal()),
      )
      const zeroPoint = Uint8Array.from(
        { length: rows },
        (_, r) => range[0] + ((5 + 3 * r) % (range[1] - range[0])) + range[2],
      )
      const codes = new Uint8Array(rows * cols)
      return [x, dtypes[dtype].code, scale, zeroPoint, codes, rows, cols, ...range, reciprocal]
    },
    tolerance: () => 'exact',
    defects:
      rows < 3 || cols < 64
        ? undefined
        : ({
            'scale of the next row': (args) => {
              const scale = args[2] as HostArray
              return replaced(
                args,
                2,
                scale.map((_: unknown, r: number) => scale[(r + 1) % rows] as never) as HostArray,
              )
            },
            'a zero point one too high': (args) =>
              replaced(args, 3, (args[3] as Uint8Array).with(0, (args[3] as Uint8Array)[0] + 1)),
          } as KernelCase['defects']),
  })),
)

/** Ties, values far outside the codes, NaN and infinities; scales that are 0, subnormal, infinite and NaN. */
const special: KernelCase[] = kinds.map(({ dtype, range, reciprocal }) => ({
  name: `special values ${dtype} ${range[0]}…${range[1]} ${reciprocal ? 'times 1/scale' : 'by scale'}`,
  args: () => {
    const ties = Float32Array.from({ length: 523 - specials.length }, (_, i) => i / 2 - 120)
    const scale = rawOf(dtype, [1, 2 ** -14, 2 ** -24, Infinity, NaN, 0])
    const rows = scale.length
    const x = rawOf(dtype, Array.from({ length: rows }, () => [...specials, ...ties]).flat())
    const zeroPoint = new Uint8Array(rows).fill(3 + range[2])
    return [
      x,
      dtypes[dtype].code,
      scale,
      zeroPoint,
      new Uint8Array(x.length),
      rows,
      523,
      ...range,
      reciprocal,
    ]
  },
  tolerance: () => 'exact',
}))

/**
 * Where the product with a rounded reciprocal and the quotient round to different codes: 1/3 is rounded down,
 * so 2.5 units fall below.
 */
const reciprocals: KernelCase[] = [
  {
    name: '0.5 units of 0.3 to 40.5 units',
    args: () => {
      const scale = Float32Array.of(0.3)
      const x = Float32Array.from({ length: 41 }, (_, i) => Math.fround((i + 0.5) * scale[0]))
      return [x, dtypes.float32.code, scale, new Uint8Array(1), new Uint8Array(41), 1, 41, -128, 127, 0, 1]
    },
    tolerance: () => 'exact',
    defects: { 'a quotient': (args) => replaced(args, 10, 0) },
  },
]

export const cases = [...sizes, ...special, ...reciprocals]
