import type { KernelCase } from '../../case.ts'
import { normals } from '../../inputs.ts'
import { padModes } from './pad2d.ts'

/**
 * Modes with the sizes planes, height, width, outHeight, outWidth, top, left: each side, more than one task,
 * and (zeros) a crop.
 */
export const pads = Object.entries(padModes).flatMap(([name, mode]) =>
  [
    [1, 2, 3, 3, 4, 1, 0],
    [3, 5, 4, 9, 9, 2, 3],
    [90, 17, 19, 20, 31, 0, 5],
    ...(name === 'zeros' ? [[2, 5, 6, 3, 3, -1, -2]] : []),
  ].map((sizes) => ({ name: `${name} ${sizes}`, mode, sizes })),
)

export const cases: KernelCase[] = pads.map(({ name, mode, sizes }) => {
  const [planes, height, width, outHeight, outWidth] = sizes
  return {
    name,
    args: (random) => [
      mode,
      normals(random, planes * height * width),
      new Float32Array(planes * outHeight * outWidth),
      ...sizes,
    ],
    tolerance: () => 'exact',
    defects: { 'one row lower': (args) => args.with(8, sizes[5] + 1) },
  }
})
