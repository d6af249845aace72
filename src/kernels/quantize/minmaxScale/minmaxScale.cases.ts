import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import { encodeFloat } from '../../../core/halves.ts'
import type { KernelCase } from '../../case.ts'
import { normals, rawOf, replaced, shapes, specials } from '../../inputs.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

const sizes: KernelCase[] = floats.flatMap((dtype) =>
  shapes.flatMap(([rows, cols]) =>
    [3, 15].map((levels) => ({
      name: `${rows}x${cols} ${dtype} levels=${levels}`,
      args: (random) => {
        // Far from zero, which the range must not include.
        const x = rawOf(dtype, normals(random, rows * cols, 0.1, 1))
        const [scale, shift] = [0, 1].map(() => rawOf(dtype, new Float32Array(rows)))
        return [x, dtypes[dtype].code, scale, shift, rows, cols, levels]
      },
      tolerance: () => 'exact',
      defects: {
        'zero in the range': (args) => {
          const x = (args[0] as HostArray).slice()
          x[x.length - 1] = encodeFloat(dtype, 0)
          return replaced(args, 0, x)
        },
        // A constant group has scale 0 whatever the levels.
        ...(cols > 1 && { 'one level more': (args) => replaced(args, 6, levels + 1) }),
      } as KernelCase['defects'],
    })),
  ),
)

/** Row r holds special value r at column r; the last rows are constant: zeros of both signs, and 0.3. */
const special: KernelCase[] = floats.map((dtype) => ({
  name: `special values ${dtype}`,
  args: (random) => {
    const count = specials.length
    const x = normals(random, (count + 2) * count, 1e-4)
    for (let r = 0; r < count; r++) x[r * count + r] = specials[r]
    for (let c = 0; c < count; c++) x[count * count + c] = c % 2 ? 0 : -0
    x.fill(0.3, (count + 1) * count)
    const [scale, shift] = [0, 1].map(() => rawOf(dtype, new Float32Array(count + 2)))
    return [rawOf(dtype, x), dtypes[dtype].code, scale, shift, count + 2, count, 15]
  },
  tolerance: () => 'exact',
}))

export const cases = [...sizes, ...special]
