import type { KernelCase } from '../../case.ts'
import { counts, magnitudes, normals, replaced } from '../../inputs.ts'

export const cases: KernelCase[] = counts.flatMap((count) =>
  [0, 0.1, 0.5, 1].map(
    (p): KernelCase => ({
      name: `count=${count} p=${p}`,
      args: (random) => [
        p === 0.5 ? magnitudes(random, count) : normals(random, count, 1, 4),
        p,
        random.uint32() | 0,
        new Float32Array(count),
        count,
      ],
      // The hash decides to the bit; then one product.
      tolerance: () => 'exact',
      defects:
        count < 100 || p === 0 || p === 1 ? undefined : { 'another seed': (args) => replaced(args, 2, 7) },
    }),
  ),
)
