import type { KernelCase } from '../../case.ts'
import { sumTolerance } from '../../conv/conv2d/conv2d.cases.ts'
import { inBfloat16, normals } from '../../inputs.ts'
import { pads } from '../pad2d/pad2d.cases.ts'
import { pad2dGradient } from './pad2dGradient.ts'

export const cases: KernelCase[] = pads.map(({ name, mode, sizes }) => {
  const [planes, height, width, outHeight, outWidth] = sizes
  return {
    name,
    args: (random) => [
      mode,
      normals(random, planes * outHeight * outWidth),
      new Float32Array(planes * height * width),
      ...sizes,
    ],
    tolerance: (args) => sumTolerance(pad2dGradient, args, 2),
    defects: {
      'one row lower': (args) => args.with(8, sizes[5] + 1),
      'dy rounded to bfloat16': (args) => args.with(1, inBfloat16(args[1] as Float32Array)),
    },
  }
})
