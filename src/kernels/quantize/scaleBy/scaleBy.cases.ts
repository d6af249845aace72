import type { KernelCase } from '../../case.ts'
import { counts, inBfloat16, magnitudes, replaced } from '../../inputs.ts'

/** One multiplication, so the same bits everywhere. */
export const cases: readonly KernelCase[] = counts.map((count) => ({
  name: `count=${count}`,
  args: (random) => [magnitudes(random, count), Float32Array.of(0.3), new Float32Array(count), count],
  tolerance: () => 'exact',
  defects: {
    'factor an ulp off': (args) => replaced(args, 1, Float32Array.of(0.3 * (1 + 2 ** -22))),
    ...(count > 100 && { 'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)) }),
  },
}))
