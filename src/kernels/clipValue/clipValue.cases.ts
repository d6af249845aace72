import type { KernelCase } from '../case.ts'
import { counts, magnitudes, normals, replaced, specials } from '../inputs.ts'

const sizes: KernelCase[] = counts.map((count) => ({
  name: `count=${count}`,
  args: (random) => [normals(random, count, 3).with(count - 1, 2), 0.5, count],
  tolerance: () => 'exact',
  defects: { 'another limit': (args) => replaced(args, 1, 0.50001) },
}))

const special: KernelCase = {
  name: 'special values',
  args: (random) => [magnitudes(random, specials.length), 1, specials.length],
  tolerance: () => 'exact',
}

export const cases = [...sizes, special]
