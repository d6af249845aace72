import type { KernelCase } from '../../case.ts'
import { counts, inBfloat16, magnitudes, replaced } from '../../inputs.ts'

export const cases: KernelCase[] = counts.flatMap((count) =>
  [
    [0.3, 0.7],
    [-2, -0],
    [1, 1e-3],
  ].map(
    ([scale, offset]): KernelCase => ({
      name: `count=${count} scale=${scale} offset=${offset}`,
      args: (random) => [magnitudes(random, count), scale, offset, new Float32Array(count), count],
      // A product and a sum, each rounded once: the same bits everywhere.
      tolerance: () => 'exact',
      defects: {
        'another scale': (args) => replaced(args, 1, scale * 1.00001),
        ...(count > 30 && {
          'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
        }),
      },
    }),
  ),
)
