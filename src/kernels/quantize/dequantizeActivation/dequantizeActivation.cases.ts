import type { KernelCase } from '../../case.ts'
import { counts, replaced } from '../../inputs.ts'
import { activationTypes } from '../quantizeActivation/quantizeActivation.cases.ts'

/** Every code that there is, again and again; one multiplication, so the same bits everywhere. */
const sizes: KernelCase[] = activationTypes.flatMap((qtype) =>
  counts.map((count) => ({
    name: `count=${count} ${qtype.name}`,
    args: () => [
      Uint8Array.from({ length: count }, (_, i) => 37 * i + 1),
      Float32Array.of(0.0123),
      new Float32Array(count),
      count,
      qtype.code,
    ],
    tolerance: () => 'exact',
    defects: {
      'scale an ulp off': (args) => replaced(args, 1, Float32Array.of(0.0123 * (1 + 2 ** -22))),
      'a code one off': (args) =>
        replaced(
          args,
          0,
          (args[0] as Uint8Array).map((code, i) => (i === 0 ? code + 1 : code)),
        ),
    },
  })),
)

export const cases = sizes
