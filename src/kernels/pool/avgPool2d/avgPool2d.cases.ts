import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'
import { pools } from '../maxPool2d/maxPool2d.cases.ts'
import { avgPool2d } from './avgPool2d.ts'

/** With and without padding counted, and over a divisor of the user's. */
export const counting = [
  { name: '', countPadding: 1, divisor: 0 },
  { name: ', padding not counted', countPadding: 0, divisor: 0 },
  { name: ', divisor 3', countPadding: 1, divisor: 3 },
]

/** Sums are float64: half an ulp on either side, and the order of up to 667 additions, 2^−52 of Σ|x| each. */
function tolerance([x, y, ...sizes]: readonly KernelArg[]): Float64Array {
  const bound = new Float32Array((y as Float32Array).length)
  avgPool2d((x as Float32Array).map(Math.abs), bound, ...(sizes as [number, number, number, number, number]))
  const mean = new Float32Array(bound.length)
  avgPool2d(x as Float32Array, mean, ...(sizes as [number, number, number, number, number]))
  return Float64Array.from(bound, (absolute, i) => epsilon * Math.abs(mean[i]) + 700 * 2 ** -52 * absolute)
}

export const cases: KernelCase[] = pools.flatMap(({ name, sizes, kernel, stride, padding }) =>
  counting.map(
    (count): KernelCase => ({
      name: name + count.name,
      args(random) {
        const [planes, height, width, outHeight, outWidth] = sizes
        const y = new Float32Array(planes * outHeight * outWidth)
        return [
          normals(random, planes * height * width),
          y,
          ...sizes,
          ...kernel,
          ...stride,
          ...padding,
          count.countPadding,
          count.divisor,
        ]
      },
      tolerance,
      defects: {
        'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
        'another divisor': (args) => replaced(args, 14, 5),
      },
    }),
  ),
)
