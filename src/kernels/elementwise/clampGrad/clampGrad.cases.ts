import type { KernelCase } from '../../case.ts'
import { counts, magnitudes, normals, replaced } from '../../inputs.ts'

export const cases: KernelCase[] = counts.flatMap((count): KernelCase[] => [
  {
    name: `count=${count} -0.5..0.5`,
    args: (random) => [
      normals(random, count),
      normals(random, count),
      -0.5,
      0.5,
      new Float32Array(count),
      count,
    ],
    tolerance: () => 'exact',
    defects: count < 15 ? undefined : { 'another limit': (args) => replaced(args, 3, 3) },
  },
  {
    // NaN, infinities, zeros of both signs, and limits that are met.
    name: `count=${count} every magnitude, from 0`,
    args: (random) => [
      magnitudes(random, count),
      normals(random, count),
      0,
      Infinity,
      new Float32Array(count),
      count,
    ],
    tolerance: () => 'exact',
  },
])
