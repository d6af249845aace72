import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import { encodeFloat } from '../../../core/halves.ts'
import { qfloat8_e4m3fn, qfloat8_e4m3fnuz, qfloat8_e5m2, qint8 } from '../../../core/qtype.ts'
import type { KernelCase } from '../../case.ts'
import { normals, rawOf, replaced, shapes, specials } from '../../inputs.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']
const largest = [qint8, qfloat8_e4m3fn, qfloat8_e5m2, qfloat8_e4m3fnuz].map(({ qmax }) => qmax)

const sizes: KernelCase[] = floats.flatMap((dtype) =>
  shapes.flatMap(([rows, cols]) =>
    largest.map((qmax) => ({
      name: `${rows}x${cols} ${dtype} qmax=${qmax}`,
      args: (random) => {
        const x = rawOf(dtype, normals(random, rows * cols, 0.1))
        return [x, dtypes[dtype].code, rawOf(dtype, new Float32Array(rows)), rows, cols, qmax]
      },
      tolerance: () => 'exact',
      defects: {
        'half of qmax': (args) => replaced(args, 5, qmax / 2),
        'one value': (args) => {
          const x = (args[0] as HostArray).slice()
          x[x.length - 1] = encodeFloat(dtype, 10)
          return replaced(args, 0, x)
        },
      },
    })),
  ),
)

/** Row r holds special value r at column r; the last row is all zeros. */
const special: KernelCase[] = floats.map((dtype) => ({
  name: `special values ${dtype}`,
  args: (random) => {
    const count = specials.length
    const x = normals(random, (count + 1) * count, 1e-4)
    for (let r = 0; r < count; r++) x[r * count + r] = specials[r]
    x.fill(-0, count * count)
    return [
      rawOf(dtype, x),
      dtypes[dtype].code,
      rawOf(dtype, new Float32Array(count + 1)),
      count + 1,
      count,
      127,
    ]
  },
  tolerance: () => 'exact',
}))

export const cases = [...sizes, ...special]
