import type { KernelCase } from '../../case.ts'
import { normals } from '../../inputs.ts'

/** A single value, a few, more than one task. */
export const cases: KernelCase[] = [1, 3, 17, 400].map((cols) => ({
  name: `${cols} columns`,
  args: (random) => [normals(random, cols * cols), cols],
  tolerance: () => 'exact' as const,
  defects:
    cols < 3
      ? undefined
      : { 'another value above it': ([x, ...rest]) => [(x as Float32Array).with(1, 9), ...rest] },
}))
