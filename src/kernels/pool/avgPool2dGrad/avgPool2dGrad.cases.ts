import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'
import { counting } from '../avgPool2d/avgPool2d.cases.ts'
import { pools } from '../maxPool2d/maxPool2d.cases.ts'
import { avgPool2dGrad } from './avgPool2dGrad.ts'

/**
 * Each value lies in at most 9 windows: as many quotients and additions in float32, and the definition, half
 * an ulp each.
 */
function tolerance([dy, dx, ...sizes]: readonly KernelArg[]): Float64Array {
  const absolute = new Float32Array((dx as Float32Array).length)
  avgPool2dGrad(
    (dy as Float32Array).map(Math.abs),
    absolute,
    ...(sizes as [number, number, number, number, number]),
  )
  return Float64Array.from(absolute, (sum) => 5.5 * epsilon * sum)
}

export const cases: KernelCase[] = pools.flatMap(({ name, sizes, kernel, stride, padding }) =>
  counting.map(
    (count): KernelCase => ({
      name: name + count.name,
      args(random) {
        const [planes, height, width, outHeight, outWidth] = sizes
        const dx = new Float32Array(planes * height * width)
        return [
          normals(random, planes * outHeight * outWidth),
          dx,
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
        'dy in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
        'another divisor': (args) => replaced(args, 14, 5),
      },
    }),
  ),
)
