import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import { encodeFloat } from '../../../core/halves.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { normals, rawOf, replaced, shapes, specials } from '../../inputs.ts'
import { mappings } from './affineScale.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

/** qmin, qmax, offset: int8, int4 stored unsigned, int2. */
const ranges = [
  [-128, 127, 0],
  [-8, 7, 8],
  [-2, 1, 2],
] as const

function argsOf(
  dtype: FloatDType,
  mapping: number,
  x: Float32Array,
  rows: number,
  cols: number,
  range: readonly number[],
): KernelArg[] {
  const scale = rawOf(dtype, new Float32Array(rows))
  return [
    rawOf(dtype, x),
    dtypes[dtype].code,
    mapping,
    scale,
    new Uint8Array(rows),
    rows,
    cols,
    ...range,
    2 ** -23,
  ]
}

const kinds = floats.flatMap((dtype) =>
  Object.entries(mappings).flatMap(([name, mapping]) =>
    ranges.map((range) => ({ dtype, name, mapping, range })),
  ),
)

const sizes: KernelCase[] = kinds.flatMap(({ dtype, name, mapping, range }) =>
  shapes.map(([rows, cols]) => ({
    name: `${rows}x${cols} ${dtype} ${name} ${range[0]}…${range[1]}`,
    args: (random) => {
      const x = normals(random, rows * cols, 0.1, 0.1)
      if (rows > 2) x.fill(0.3, (rows - 1) * cols)
      return argsOf(dtype, mapping, x, rows, cols, range)
    },
    tolerance: () => 'exact',
    defects: {
      'one bit more': (args) =>
        replaced(replaced(args, 7, 2 * (args[7] as number)), 8, 2 * (args[8] as number) + 1),
      'an outlier lost': (args) => {
        const x = (args[0] as HostArray).slice()
        x[0] = encodeFloat(dtype, 9)
        return replaced(args, 0, x)
      },
    } as KernelCase['defects'],
  })),
)

/** Row r holds special value r; the last rows are zeros of both signs, and values below epsilon. */
const special: KernelCase[] = kinds.map(({ dtype, name, mapping, range }) => ({
  name: `special values ${dtype} ${name} ${range[0]}…${range[1]}`,
  args: (random) => {
    const finite = specials.filter(Number.isFinite)
    const count = finite.length
    const x = normals(random, (count + 2) * count, 1e-4)
    for (let r = 0; r < count; r++) x[r * count + r] = finite[r]
    for (let c = 0; c < count; c++) x[count * count + c] = c % 2 ? 0 : -0
    x.fill(1e-9, (count + 1) * count)
    return argsOf(dtype, mapping, x, count + 2, count, range)
  },
  tolerance: () => 'exact',
}))

export const cases = [...sizes, ...special]
