import type { KernelCase } from '../../case.ts'
import { counts, inBfloat16, magnitudes, normals, replaced } from '../../inputs.ts'

export const cases: KernelCase[] = counts.flatMap((count): KernelCase[] => [
  {
    name: `count=${count} -0.5..1.5`,
    args: (random) => [normals(random, count), -0.5, 1.5, new Float32Array(count), count],
    tolerance: () => 'exact',
    defects:
      count < 7
        ? undefined
        : { 'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)) },
  },
  {
    name: `count=${count} every magnitude, from 0.25`,
    args: (random) => [magnitudes(random, count), 0.25, Infinity, new Float32Array(count), count],
    tolerance: () => 'exact',
  },
])
