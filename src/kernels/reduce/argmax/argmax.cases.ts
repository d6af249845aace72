import type { KernelCase } from '../../case.ts'
import { normals, replaced, shapes } from '../../inputs.ts'
import { argmax } from './argmax.ts'

const sizes: KernelCase[] = shapes.flatMap(([rows, cols]) =>
  [false, true].map((ties) => ({
    name: `${rows}x${cols}${ties ? ' with ties' : ''}`,
    args: (random) => {
      const x = normals(random, rows * cols)
      return [ties ? x.map((value) => Math.trunc(value)) : x, new Int32Array(rows), rows, cols]
    },
    tolerance: () => 'exact',
    defects:
      cols === 1
        ? undefined
        : {
            'another column is the largest': (args) => {
              const x = (args[0] as Float32Array).slice()
              const y = new Int32Array(rows)
              argmax(x, y, rows, cols)
              x[(y[0] + 1) % cols] = 1e9
              return replaced(args, 0, x)
            },
          },
  })),
)

/** NaN first of all (the first of two), infinities, zeros of both signs, all −Infinity. */
const special: KernelCase = {
  name: '7x700 special values',
  args: (random) => {
    const x = normals(random, 7 * 700)
    x[0 * 700 + 650] = NaN
    x[0 * 700 + 661] = NaN
    x[0 * 700 + 3] = Infinity
    x[1 * 700 + 699] = Infinity
    x[2 * 700 + 0] = NaN
    x.fill(-Infinity, 3 * 700, 4 * 700)
    x.fill(-0, 4 * 700, 5 * 700)
    x[4 * 700 + 600] = 0
    x.fill(-1, 5 * 700, 6 * 700)
    x.fill(-Infinity, 6 * 700, 7 * 700)
    x[6 * 700 + 511] = NaN
    return [x, new Int32Array(7), 7, 700]
  },
  tolerance: () => 'exact',
}

export const cases = [...sizes, special]
